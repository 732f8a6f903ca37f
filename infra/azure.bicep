// Everything the agent needs in Azure, in one resource group. `provision` deploys it with azure.parameters.json.
targetScope = 'resourceGroup'

@description('Part of every name. Lower-case letters and digits.')
@minLength(3)
@maxLength(12)
param resourceSuffix string

@description('Where everything is but the bot registration, which is global.')
param location string = resourceGroup().location

@description('On every resource, for cost reports and policies.')
param tags object = {}

// Linux Consumption ("consumption") retires on 30 September 2028 and stops at Python 3.12; Flex Consumption ("flex") is
// its successor, and the only one of the two that reaches a virtual network. Each has a Function App of its own name,
// so changing the plan makes a second app, moves the bot to it, and leaves the first as a way back.
@description('consumption: Linux Consumption (Y1), until September 2028 and Python 3.12. flex: Flex Consumption (FC1).')
@allowed(['consumption', 'flex'])
param hostingPlan string = 'consumption'

@description('The Python that the package was made for. 3.13 needs hostingPlan flex.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.12'

@description('The workspace, for example https://adb-1.2.azuredatabricks.net/serving-endpoints')
@minLength(12)
@maxLength(300)
param databricksBaseUrl string

@description('The name of the serving endpoint that answers.')
@minLength(1)
@maxLength(100)
param databricksModelName string

@description('The credential for the workspace. managed-identity has no secret; the others keep theirs in a Key Vault.')
@allowed(['managed-identity', 'service-principal', 'token'])
param databricksCredential string = 'managed-identity'

@description('With service-principal: its client id, which it cannot do without.')
@maxLength(36)
param databricksClientId string = ''

@description('With service-principal: its secret. Empty leaves the one that is in the Key Vault.')
@secure()
param databricksClientSecret string = ''

@description('With token: a personal access token. Empty leaves the one that is in the Key Vault.')
@secure()
param databricksToken string = ''

@description('How the endpoint is asked; auto does as its task says.')
@allowed(['auto', 'chat', 'responses'])
param databricksApi string = 'auto'

@description('What the model is told before every conversation. Empty: the agent\'s own.')
@maxLength(8000)
param systemPrompt string = ''

@description('The longest answer, in tokens. 0: the endpoint\'s own limit.')
@minValue(0)
@maxValue(1000000)
param maxTokens int = 0

@description('From 0 to 2, for example 0.2. Empty: the endpoint\'s own.')
@maxLength(5)
param temperature string = ''

@description('Hosts whose images are shown in answers, with commas between them. Empty: every image becomes a link.')
@maxLength(2000)
param imageHosts string = ''

@description('The name of the sensitivity label that answers in Teams bear. Empty: none.')
@maxLength(100)
param sensitivityLabelName string = ''

@description('What the sensitivity label means.')
@maxLength(500)
param sensitivityLabelDescription string = ''

@description('The id of the sensitivity label in Microsoft Purview, a GUID.')
@maxLength(36)
param sensitivityLabelId string = ''

@description('The Genie spaces that answer questions about data: all, ids with commas, or JSON.')
@maxLength(8000)
param genieSpaces string = ''

@description('The time limit of one question to Genie, in seconds, below turnTimeoutSeconds.')
@minValue(10)
@maxValue(539)
param genieTimeoutSeconds int = 240

@description('Where the API of Genie is asked instead of the workspace, such as a cache; empty for the workspace.')
@maxLength(500)
param genieBaseUrl string = ''

@description('The workspace that has the traces of answers, where the model is an app; empty for the workspace itself.')
@maxLength(500)
param mlflowBaseUrl string = ''

@description('The questions that one Genie space takes in a minute.')
@minValue(1)
@maxValue(1000)
param genieQuestionsPerMinute int = 5

@description('For so many seconds the same question runs the known SQL again; 0 asks Genie always.')
@minValue(0)
@maxValue(86400)
param genieRepeatSeconds int = 600

@description('Whether Genie plans several queries for a question, where the workspace has its agent mode (Beta).')
param genieAgentMode bool = false

@description('The MCP servers whose tools the agent may use, as JSON.')
@maxLength(8000)
param mcpServers string = ''

@description('A Key Vault reference to the bearer tokens of MCP servers outside Databricks, which the identity of the agent may read.')
@maxLength(500)
param mcpKeyVaultReference string = ''

@description('Other serving endpoints that the agent may ask, as JSON.')
@maxLength(8000)
param specialists string = ''

@description('The Azure Functions that the agent may ask through storage queues, as JSON.')
@maxLength(8000)
param functionTools string = ''

// Each tool has two queue triggers, which look at their queues all the time: none where nobody asks.
@description('The tools that agents in Azure AI Foundry may call, with commas: ask, ask_data, diagnose_job; or none.')
@minLength(3)
@maxLength(100)
param foundryTools string = 'none'

// With 36 characters the name of the poison queue would be too long.
@description('<name> in azure-function-<name>-input and -output, the queues of ask.')
@minLength(1)
@maxLength(35)
param foundryToolName string = 'ask'

@description('How many requests of Foundry\'s agents one worker answers at a time.')
@minValue(1)
@maxValue(100)
param foundryMaxConcurrentRequests int = 4

@description('How long an equal question of Foundry\'s agents gets the answer of before, in seconds; 0 asks each time.')
@minValue(0)
@maxValue(3600)
param foundryCacheSeconds int = 30

@description('True keeps an answer that is too long for a queue whole, behind a link of an hour that whoever has it can read.')
param foundryAnswerLinks bool = false

@description('The object id of the managed identity of the Foundry project that may use the tools\' queues. Empty: nobody but the agent may.')
@maxLength(36)
param foundryPrincipalId string = ''

@description('The resource id of a Foundry project whose agents the agent\'s own identity may make and ask, as a pipeline that signs in with it does. Empty: none.')
@maxLength(500)
param foundryProjectId string = ''

@description('What the tokens of Foundry\'s identities are for, api://<client id>: POST /api/mcp/entra takes them then. Empty: none.')
@maxLength(200)
param foundryMcpAudience string = ''

@description('The object ids or client ids, with commas, of the identities of Foundry that may call POST /api/mcp/entra.')
@maxLength(2000)
param foundryMcpCallers string = ''

@description('The id of the SQL warehouse on which the model may run queries. Empty: it runs none.')
@maxLength(64)
param sqlWarehouseId string = ''

@description('The job watch: its settings by their names, such as { JOB_WATCH_MODE: \'observe\' }; docs/settings.md has them all. Secrets are Key Vault references that the identity of the agent may read. Empty: no job is watched.')
param jobWatch object = {}

@description('The alert on a job watch that does not look any more: how long it may be silent. Longer than JOB_WATCH_SCHEDULE waits.')
@allowed(['PT30M', 'PT1H', 'PT2H', 'PT6H', 'P1D', 'P2D'])
param alertJobWatchSilence string = 'PT1H'

@description('True lets these queries read files, streams and other databases, and use AI functions.')
param sqlAllowsExternal bool = false

@description('False offers the model no tools. A model that refuses them is noticed without this.')
param databricksTools bool = true

@description('Where an answer is cut off and marked as incomplete, in characters.')
@minValue(1000)
@maxValue(1000000)
param maxAnswerCharacters int = 100000

@description('How much of the conversation the model is given again, in tokens.')
@minValue(0)
@maxValue(1000000)
param historyTokenBudget int = 3000

@description('The time limit of an answer, in seconds. A turn that is resumed must end before functionTimeout in host.json does.')
@minValue(11)
@maxValue(540)
param turnTimeoutSeconds int = 300

@description('The lease of a turn, in seconds: how soon another instance resumes an answer when its own has vanished. A short lease takes turns from instances that are only slow.')
@minValue(10)
@maxValue(600)
param turnLeaseSeconds int = 30

@description('What was said is deleted this many days later, and at once when people say so. A question in turns-poison stays there for seven days, whatever this says.')
@minValue(1)
@maxValue(3650)
param conversationRetentionDays int = 30

@description('What people see in Teams and Copilot.')
@minLength(1)
@maxLength(42)
param botDisplayName string = 'Databricks agent'

@description('F0 is free and has all that Teams and Copilot need; S1 comes with a service level agreement.')
@allowed(['F0', 'S1'])
param botServiceSku string = 'F0'

@description('The Teams cloud of the tenant.')
@allowed(['public', 'gcc-high', 'dod'])
param botCloud string = 'public'

@description('The channels that may call the agent, with commas between them: msteams, which Copilot uses too, webchat, directline.')
@minLength(2)
@maxLength(200)
param botChannels string = 'msteams'

@description('Let the Bot Framework Emulator, signed in as the bot, call the agent in Azure.')
param botAcceptsEmulator bool = false

@description('consumption: the most instances at once, each with many turns: the bound on what a flood costs.')
@minValue(1)
@maxValue(100)
param consumptionMaximumInstances int = 20

@description('flex: the most instances at once.')
@minValue(40)
@maxValue(1000)
param flexMaximumInstances int = 100

@description('flex: the memory of an instance, which decides its share of a CPU too.')
@allowed([2048, 4096])
param flexInstanceMemoryMB int = 2048

@description('flex: instances that wait for requests and cost money while they do. 0: the first request starts one.')
@minValue(0)
@maxValue(20)
param flexAlwaysReadyInstances int = 0

@description('flex: requests at once in one instance. A turn waits most of its time, so many fit. No more than maxConcurrentRequests in host.json.')
@minValue(1)
@maxValue(100)
param flexHttpConcurrency int = 32

@description('flex: the resource id of a subnet, delegated to Microsoft.App/environments, that the agent calls out through.')
@maxLength(400)
param subnetId string = ''

@description('flex: spread instances over the zones of the region. Azure then keeps at least two always ready, which cost money. Not every region has it.')
param zoneRedundant bool = false

@description('How the storage account keeps its three copies: in one data centre (Standard_LRS), or one in each zone of the region (Standard_ZRS). None leaves the region.')
@allowed(['Standard_LRS', 'Standard_ZRS'])
param storageSku string = 'Standard_LRS'

@description('Whether storage and Key Vault can be reached from the internet, with a role. Disabled needs hostingPlan flex, subnetId and private endpoints, which Bicep does not make.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string = 'Enabled'

@description('How long Log Analytics keeps what was logged, in days.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Log Analytics takes no more than this in a day, in GB: the bound on what logging costs.')
@minValue(1)
@maxValue(100)
param logDailyCapGB int = 1

@description('Log what people ask and what they are answered. Everybody who may read the logs then reads along.')
param telemetryRecordsText bool = false

@description('The address that alerts are sent to. Empty: they are seen in the portal only.')
@maxLength(254)
param alertEmail string = ''

@description('The failure alert: the share of failed turns within 30 minutes, in percent.')
@minValue(1)
@maxValue(100)
param alertFailurePercent int = 10

@description('The failure alert needs this many turns within 30 minutes; fewer say nothing about a rate.')
@minValue(1)
@maxValue(100000)
param alertMinimumTurns int = 5

@description('The silence alert: this many accepted deliveries within an hour, and no trace of one.')
@minValue(1)
@maxValue(100000)
param alertMinimumActivities int = 10

@description('The alert on refused deliveries: this many within 30 minutes.')
@minValue(1)
@maxValue(100000)
param alertMinimumRefused int = 5

@description('The alert on server errors: this many answers of 500 and above within 15 minutes.')
@minValue(1)
@maxValue(100000)
param alertMinimumServerErrors int = 5

@description('Ask the agent\'s health every 15 minutes from two places; Azure bills it as standard web tests.')
param healthProbe bool = true

var suffix = toLower(replace(replace(resourceSuffix, '-', ''), '_', ''))
var unique = uniqueString(resourceGroup().id, suffix)
var baseName = 'dbxagent-${suffix}-${take(unique, 5)}'
// The host's id is the first 32 characters of this name, and both plans' apps share a storage account: 5 + 9 + 12 + 6.
var functionAppName = '${hostingPlan == 'flex' ? 'flex' : 'func'}-${baseName}'
var keyVaultName = 'kv-${suffix}-${take(unique, 8)}'

// As app/foundry/tools/ names them.
var foundryToolNames = { ask: foundryToolName, ask_data: 'ask-data', diagnose_job: 'diagnose-job' }
var foundryToolList = filter(map(split(foundryTools, ','), tool => trim(tool)), tool => !empty(tool))
var foundryToolQueues = toLower(foundryTools) == 'none' ? [] : map(union(foundryToolList, []), tool => 'azure-function-${foundryToolNames[tool]}')
var foundryProjectParts = split(
  empty(foundryProjectId)
    ? '${resourceGroup().id}/providers/Microsoft.CognitiveServices/accounts/-/projects/-'
    : foundryProjectId,
  '/'
)

// The bot's identity, storage's, telemetry's, and with managed-identity the one that Databricks knows.
resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${baseName}'
  location: location
  tags: tags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring-${suffix}'
  params: {
    baseName: baseName
    location: location
    tags: tags
    principalId: identity.properties.principalId
    retentionDays: logRetentionDays
    dailyCapGB: logDailyCapGB
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage-${suffix}'
  params: {
    name: 'st${suffix}${take(unique, 10)}'
    location: location
    tags: tags
    principalId: identity.properties.principalId
    deployerObjectId: deployer().objectId
    logAnalyticsId: monitoring.outputs.logAnalyticsId
    sku: storageSku
    publicNetworkAccess: publicNetworkAccess
    foundryToolQueues: foundryToolQueues
    foundryPrincipalId: foundryPrincipalId
    foundryAnswerLinks: foundryAnswerLinks
  }
}

// Elsewhere as a rule: in the resource group of the project. Without one the scope is this group, and nothing is made.
module foundryProject 'modules/foundryProject.bicep' = if (!empty(foundryProjectId)) {
  name: 'foundryProject-${suffix}'
  scope: resourceGroup(foundryProjectParts[2], foundryProjectParts[4])
  params: {
    accountName: foundryProjectParts[8]
    projectName: foundryProjectParts[10]
    principalId: identity.properties.principalId
  }
}

// Only with a secret to keep: it cannot be purged, so after a deleted resource group its name stops a second provision.
module keyVault 'modules/keyVault.bicep' = if (databricksCredential != 'managed-identity') {
  name: 'keyVault-${suffix}'
  params: {
    name: keyVaultName
    location: location
    tags: tags
    principalId: identity.properties.principalId
    databricksToken: databricksToken
    databricksClientSecret: databricksClientSecret
    logAnalyticsId: monitoring.outputs.logAnalyticsId
    publicNetworkAccess: publicNetworkAccess
  }
}

// One application setting for each line, named as app/config.py names it. What is empty is not written at all.
var agentSettings = union(
  jobWatch,
  {
    MicrosoftAppId: identity.properties.clientId
    MicrosoftAppType: 'UserAssignedMSI'
    MicrosoftAppTenantId: identity.properties.tenantId
    BOT_CLOUD: botCloud
    BOT_CHANNELS: botChannels
    BOT_ACCEPTS_EMULATOR: botAcceptsEmulator ? 'true' : 'false'
    DATABRICKS_BASE_URL: databricksBaseUrl
    DATABRICKS_MODEL_NAME: databricksModelName
    DATABRICKS_API: databricksApi
    DATABRICKS_TOOLS: databricksTools ? 'true' : 'false'
    SQL_ALLOWS_EXTERNAL: sqlAllowsExternal ? 'true' : 'false'
    MAX_ANSWER_CHARACTERS: string(maxAnswerCharacters)
    HISTORY_TOKEN_BUDGET: string(historyTokenBudget)
    GENIE_TIMEOUT_SECONDS: string(genieTimeoutSeconds)
    GENIE_QUESTIONS_PER_MINUTE: string(genieQuestionsPerMinute)
    GENIE_REPEAT_SECONDS: string(genieRepeatSeconds)
    GENIE_AGENT_MODE: genieAgentMode ? 'true' : 'false'
    FOUNDRY_TOOLS: foundryTools
    FOUNDRY_TOOL_NAME: foundryToolName
    FOUNDRY_MAX_CONCURRENT_REQUESTS: string(foundryMaxConcurrentRequests)
    FOUNDRY_CACHE_SECONDS: string(foundryCacheSeconds)
    FOUNDRY_ANSWER_LINKS: foundryAnswerLinks ? 'true' : 'false'
    TURN_TIMEOUT_SECONDS: string(turnTimeoutSeconds)
    TURN_LEASE_SECONDS: string(turnLeaseSeconds)
    CONVERSATION_RETENTION_DAYS: string(conversationRetentionDays)
    TELEMETRY_RECORDS_TEXT: telemetryRecordsText ? 'true' : 'false'
    APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identity.properties.clientId}'
  },
  databricksCredential == 'managed-identity' ? { DATABRICKS_AUTH_TYPE: 'azure-managed-identity' } : {},
  databricksCredential == 'service-principal'
    ? { DATABRICKS_CLIENT_SECRET: '@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=databricks-client-secret)' }
    : {},
  databricksCredential == 'service-principal' && !empty(databricksClientId)
    ? { DATABRICKS_CLIENT_ID: databricksClientId }
    : {},
  databricksCredential == 'token'
    ? { DATABRICKS_TOKEN: '@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=databricks-token)' }
    : {},
  empty(systemPrompt) ? {} : { SYSTEM_PROMPT: systemPrompt },
  maxTokens == 0 ? {} : { OPENAI_MAX_TOKENS: string(maxTokens) },
  empty(temperature) ? {} : { OPENAI_TEMPERATURE: temperature },
  empty(imageHosts) ? {} : { IMAGE_HOSTS: imageHosts },
  empty(sensitivityLabelName) ? {} : { SENSITIVITY_LABEL_NAME: sensitivityLabelName },
  empty(sensitivityLabelDescription) ? {} : { SENSITIVITY_LABEL_DESCRIPTION: sensitivityLabelDescription },
  empty(sensitivityLabelId) ? {} : { SENSITIVITY_LABEL_ID: sensitivityLabelId },
  empty(genieSpaces) ? {} : { GENIE_SPACES: genieSpaces },
  empty(genieBaseUrl) ? {} : { GENIE_BASE_URL: genieBaseUrl },
  empty(mlflowBaseUrl) ? {} : { MLFLOW_BASE_URL: mlflowBaseUrl },
  empty(mcpServers) ? {} : { MCP_SERVERS: mcpServers },
  empty(mcpKeyVaultReference) ? {} : { MCP_SECRETS: mcpKeyVaultReference },
  empty(specialists) ? {} : { SPECIALISTS: specialists },
  empty(functionTools) ? {} : { FUNCTION_TOOLS: functionTools },
  empty(foundryMcpAudience) ? {} : { FOUNDRY_MCP_AUDIENCE: foundryMcpAudience },
  empty(foundryMcpCallers) ? {} : { FOUNDRY_MCP_CALLERS: foundryMcpCallers },
  empty(sqlWarehouseId) ? {} : { SQL_WAREHOUSE_ID: sqlWarehouseId }
)

// As app/config.py and app/jobs/environment.py judge it.
var jobWatchSchedule = jobWatch.?JOB_WATCH_SCHEDULE ?? ''
var jobWatchPasses = contains(join(map(items(jobWatch), setting => setting.key), ' '), 'JOB_WATCH_') && jobWatchSchedule != 'off'

module functionApp 'modules/functionApp.bicep' = {
  name: 'functionApp-${suffix}'
  params: {
    name: functionAppName
    location: location
    tags: tags
    hostingPlan: hostingPlan
    pythonVersion: pythonVersion
    identityId: identity.id
    identityClientId: identity.properties.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    packageContainerName: storage.outputs.packageContainerName
    agentSettings: agentSettings
    consumptionMaximumInstances: consumptionMaximumInstances
    flexMaximumInstances: flexMaximumInstances
    flexInstanceMemoryMB: flexInstanceMemoryMB
    flexAlwaysReadyInstances: flexAlwaysReadyInstances
    flexHttpConcurrency: flexHttpConcurrency
    subnetId: subnetId
    zoneRedundant: zoneRedundant
    logAnalyticsId: monitoring.outputs.logAnalyticsId
  }
  dependsOn: [keyVault] // its settings refer to secrets there, by name
}

module botRegistration 'botRegistration/azurebot.bicep' = {
  name: 'botRegistration-${suffix}'
  params: {
    name: 'bot-${baseName}'
    displayName: botDisplayName
    sku: botServiceSku
    tags: tags
    botAppDomain: functionApp.outputs.hostName
    identityResourceId: identity.id
    identityClientId: identity.properties.clientId
    identityTenantId: identity.properties.tenantId
    logAnalyticsId: monitoring.outputs.logAnalyticsId
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts-${suffix}'
  params: {
    baseName: baseName
    location: location
    tags: tags
    logAnalyticsId: monitoring.outputs.logAnalyticsId
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    siteId: functionApp.outputs.resourceId
    healthUrl: 'https://${functionApp.outputs.hostName}/api/health'
    healthProbe: healthProbe
    email: alertEmail
    failurePercent: alertFailurePercent
    minimumTurns: alertMinimumTurns
    minimumActivities: alertMinimumActivities
    minimumRefused: alertMinimumRefused
    minimumServerErrors: alertMinimumServerErrors
    jobWatch: jobWatchPasses
    jobWatchSilence: alertJobWatchSilence
  }
}

// `provision` writes these into env/.env.dev; m365agents.yml, the manifest and `deploy` read them there.
output BOT_ID string = identity.properties.clientId
output BOT_TENANT_ID string = identity.properties.tenantId
output BOT_DOMAIN string = functionApp.outputs.hostName
output BOT_AZURE_FUNCTION_APP_RESOURCE_ID string = functionApp.outputs.resourceId
output FUNCTION_APP_NAME string = functionApp.outputs.name
output STORAGE_ACCOUNT_NAME string = storage.outputs.name
output PACKAGE_CONTAINER_NAME string = storage.outputs.packageContainerName
output HEALTH_URL string = 'https://${functionApp.outputs.hostName}/api/health'
