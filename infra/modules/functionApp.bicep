// The hosting plan and the Function App on it, with the application settings that this plan really needs.
@description('Of the Function App, unique in the world. Its first 32 characters are the host\'s id.')
@maxLength(32)
param name string

@description('The Azure region.')
param location string

@description('On every resource.')
param tags object

@description('consumption or flex.')
@allowed(['consumption', 'flex'])
param hostingPlan string

@description('The Python that the package was made for.')
param pythonVersion string

@description('The identity\'s resource id.')
param identityId string

@description('The identity\'s client id.')
param identityClientId string

@description('The account\'s blob service, with a slash at its end.')
param blobEndpoint string

@description('The account\'s queue service.')
param queueEndpoint string

@description('The account\'s table service.')
param tableEndpoint string

@description('Where packages are.')
param packageContainerName string

@description('What app/config.py reads: name and value.')
param agentSettings object

@description('consumption: the most instances at once.')
param consumptionMaximumInstances int

@description('flex: the most instances at once.')
param flexMaximumInstances int

@description('flex: the memory of an instance.')
param flexInstanceMemoryMB int

@description('flex: instances that wait for requests.')
param flexAlwaysReadyInstances int

@description('flex: requests at once in one instance.')
param flexHttpConcurrency int

@description('flex: the subnet that the app calls out through, or empty.')
param subnetId string

@description('flex: whether instances are spread over the zones of the region.')
param zoneRedundant bool

@description('Where the app\'s log goes.')
param logAnalyticsId string

var isFlex = hostingPlan == 'flex'

// The addresses rather than __accountName, which would mean the global Azure cloud.
var hostStorageSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: blobEndpoint
  AzureWebJobsStorage__queueServiceUri: queueEndpoint
  AzureWebJobsStorage__tableServiceUri: tableEndpoint
}

// As the agent's own limit (app/bot/inbound/activity.py). The host's is 100 MB, which it would hold in memory, and the worker too,
// before the agent could refuse it.
var requestSettings = {
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '262144'
}

// Flex has these in functionAppConfig, and refuses or ignores them here. Linux Consumption reads the package itself, by
// the identity, every time that an instance starts.
var consumptionSettings = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
  WEBSITE_RUN_FROM_PACKAGE: '${blobEndpoint}${packageContainerName}/agent.zip'
  WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId
}

var settings = union(hostStorageSettings, requestSettings, isFlex ? {} : consumptionSettings, agentSettings)
var settingsList = [
  for setting in items(settings): {
    name: setting.key
    value: setting.value
  }
]

// Flex refuses a deployment that says more than this (error 51021); it has no FTP, and its runtime is in functionAppConfig.
var siteConfig = union(
  {
    appSettings: settingsList
    minTlsVersion: '1.2'
  },
  isFlex
    ? {}
    : {
        linuxFxVersion: 'Python|${pythonVersion}'
        functionAppScaleLimit: consumptionMaximumInstances
        ftpsState: 'Disabled'
        http20Enabled: true
        scmMinTlsVersion: '1.2'
      }
)

var flexConfig = {
  deployment: {
    storage: {
      type: 'blobContainer'
      value: '${blobEndpoint}${packageContainerName}'
      authentication: {
        type: 'UserAssignedIdentity'
        userAssignedIdentityResourceId: identityId
      }
    }
  }
  runtime: {
    name: 'python'
    version: pythonVersion
  }
  scaleAndConcurrency: {
    maximumInstanceCount: flexMaximumInstances
    instanceMemoryMB: flexInstanceMemoryMB
    alwaysReady: flexAlwaysReadyInstances == 0
      ? []
      : [
          {
            name: 'http'
            instanceCount: flexAlwaysReadyInstances
          }
        ]
    triggers: {
      http: {
        perInstanceConcurrency: flexHttpConcurrency
      }
    }
  }
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: isFlex
    ? {
        name: 'FC1'
        tier: 'FlexConsumption'
      }
    : {
        name: 'Y1'
        tier: 'Dynamic'
      }
  properties: {
    reserved: true // Linux
    zoneRedundant: isFlex ? zoneRedundant : null
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    reserved: isFlex ? null : true // Linux
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    siteConfig: siteConfig
    functionAppConfig: isFlex ? flexConfig : null
    // Azure refuses a subnet on the consumption plan, in a sentence of its own.
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
  }
}

// No password deploys here: neither FTP's nor Kudu's.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noKuduPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [
    noFtpPassword // two changes of one site at a time are refused
  ]
}

// What the host says when it cannot reach Application Insights, or its package.
resource siteLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: site
  properties: {
    workspaceId: logAnalyticsId
    logs: [
      {
        category: 'FunctionAppLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output resourceId string = site.id
output name string = site.name
output hostName string = site.properties.defaultHostName
