using '../azure.bicep'

param hostingPlan = 'flex'
param pythonVersion = '3.13'
param databricksCredential = 'token'

param resourceSuffix = 'abcdefghijkl'
param location = 'westeurope'
param tags = { owner: 'data' }
param databricksBaseUrl = 'https://adb-1.2.azuredatabricks.net/serving-endpoints'
param databricksModelName = 'model'
param databricksClientId = '00000000-0000-4000-8000-000000000009'
param databricksClientSecret = 'the client secret'
param databricksToken = 'the token'
param databricksApi = 'chat'
param systemPrompt = 'the system prompt'
param maxTokens = 1001
param temperature = '0.2'
param imageHosts = 'images.contoso.com'
param sensitivityLabelName = 'Internal'
param sensitivityLabelDescription = 'For staff only'
param sensitivityLabelId = '7d1f64a2-6c0e-4b6a-9f0e-0a4a8d7c1b55'
param genieSpaces = '[{"id": "01ef", "alias": "Sales"}]'
param genieTimeoutSeconds = 90
param genieAgentMode = true
param genieBaseUrl = 'https://genie.example.com'
param mlflowBaseUrl = 'https://adb-2.azuredatabricks.net'
param genieQuestionsPerMinute = 20
param genieRepeatSeconds = 60
param mcpServers = '[{"name": "tickets", "url": "https://tickets.contoso.com/mcp"}]'
param mcpKeyVaultReference = '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/mcp)'
param specialists = '[{"name": "legal", "endpoint": "agents_legal"}]'
param functionTools = '[{"name": "weather", "description": "The weather", "endpoint": "https://contoso.queue.core.windows.net", "input_queue": "weather-in", "output_queue": "weather-out"}]'
param foundryTools = 'ask, diagnose_job,'
param foundryToolName = 'databricks'
param foundryMaxConcurrentRequests = 3
param foundryCacheSeconds = 31
param foundryPrincipalId = '77777777-0000-4000-8000-000000000007'
param foundryProjectId = '/subscriptions/00000000-0000-4000-8000-000000000002/resourceGroups/foundry/providers/Microsoft.CognitiveServices/accounts/contoso-ai/projects/data'
param foundryAnswerLinks = true
param foundryMcpAudience = 'api://5c9f2a10-1111-4222-8333-444455556666'
param foundryMcpCallers = '0b1c2d3e-1111-4222-8333-444455556666'
param sqlWarehouseId = 'a1b2c3d4e5f60718'
param sqlAllowsExternal = true
param jobWatch = {
  JOB_WATCH_MODE: 'approve'
  JOB_WATCH_SAFE: 'true'
  JOB_WATCH_ALLOW: '{"batch_size": {"type": "integer", "min": 1, "max": 1000}}'
  JOB_WATCH_JOBS: '{"nightly_*": {"mode": "auto"}}'
  JOB_WATCH_IDS: '123,456'
  JOB_WATCH_NAME: 'nightly_*'
  JOB_WATCH_TAG: 'team=data'
  JOB_WATCH_BREAKER: '5'
  MAX_RETRY_ATTEMPTS: '2'
  RETRY_WITH_PARAMS_ATTEMPTS: '1'
  JOB_FAILURES_IN_A_ROW: '2'
  JOB_MAX_MINUTES: '90'
  JOB_MAX_LATE_MINUTES: '15'
  JOB_APPROVERS: '99999999-2222-4333-8444-555555555555/11111111-2222-4333-8444-555555555555'
  JOB_VIEWERS: '99999999-2222-4333-8444-555555555555/11111111-2222-4333-8444-555555555555'
  JOB_ESCALATION_EMAILS: 'team@contoso.com'
  JOB_MODEL_CALLS_PER_HOUR: '30'
  DATABRICKS_HOST: 'https://adb-1.2.azuredatabricks.net'
  JOB_WATCH_STORE: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/store)'
  JOB_WATCH_SCHEDULE: '0 */10 * * * *'
  JOB_NOTIFICATION_USERNAME: 'databricks'
  JOB_NOTIFICATION_PASSWORD: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/job-notifications)'
  JOB_WATCH_HEARTBEAT_URL: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/heartbeat)'
  JOB_WEBHOOK_URL: 'https://hooks.contoso.com/jobs'
  JOB_WEBHOOK_SECRET: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/job-webhook)'
  SLACK_WEBHOOK_URL: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/slack)'
  PAGERDUTY_ROUTING_KEY: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/pagerduty)'
  PAGERDUTY_URL: 'https://events.eu.pagerduty.com'
  TICKET_URL: 'https://contoso.service-now.com/api/now/table/incident'
  TICKET_AUTHORIZATION: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/tickets)'
  TICKET_TEMPLATE: '{"short_description": "{job}"}'
  JOB_DIGEST_AT: '08:00'
  JOB_QUIET_HOURS: '22:00-07:00'
  JOB_TIME_ZONE: 'Europe/Berlin'
  SENDER_EMAIL: 'jobs@contoso.com'
  SMTP_SERVER: 'smtp.contoso.com'
  SMTP_PORT: '465'
  SENDER_PASSWORD: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/sender)'
  MAIL_TENANT_ID: '99999999-2222-4333-8444-555555555555'
  MAIL_CLIENT_ID: '11111111-2222-4333-8444-555555555555'
  MAIL_CLIENT_SECRET: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/mail)'
  MAIL_CLOUD: 'gcc-high'
  AZURE_OPENAI_ENDPOINT: 'https://contoso.openai.azure.com'
  AZURE_OPENAI_DEPLOYMENT: 'gpt'
  AZURE_OPENAI_KEY: '@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/openai)'
}
param alertJobWatchSilence = 'PT2H'
param databricksTools = false
param maxAnswerCharacters = 1002
param historyTokenBudget = 1003
param turnTimeoutSeconds = 104
param turnLeaseSeconds = 105
param conversationRetentionDays = 106
param botDisplayName = 'the display name'
param botServiceSku = 'S1'
param botCloud = 'gcc-high'
param botChannels = 'msteams,webchat'
param botAcceptsEmulator = true
param consumptionMaximumInstances = 11
param flexMaximumInstances = 112
param flexInstanceMemoryMB = 4096
param flexAlwaysReadyInstances = 13
param flexHttpConcurrency = 14
param zoneRedundant = true
param storageSku = 'Standard_ZRS'
param publicNetworkAccess = 'Disabled'
param logRetentionDays = 115
param logDailyCapGB = 16
param telemetryRecordsText = true
param alertEmail = 'operations@contoso.com'
param alertFailurePercent = 17
param alertMinimumTurns = 5
param alertMinimumActivities = 10
param alertMinimumRefused = 6
param alertMinimumServerErrors = 7
param healthProbe = true
param subnetId = '/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/network/subnets/agent'
