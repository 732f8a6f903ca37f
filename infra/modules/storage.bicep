// The package, the host's own blobs, the agent's tables and queues. No key opens this account: both plans work by
// identity. (Only Windows and Premium need a key, for the file share of WEBSITE_CONTENTAZUREFILECONNECTIONSTRING.)
@description('Of the account, unique in the world.')
@maxLength(24)
param name string

@description('The Azure region.')
param location string

@description('On every resource.')
param tags object

@description('The agent\'s identity.')
param principalId string

@description('The object id of the person or service principal that deploys and uploads the package.')
param deployerObjectId string

@description('Where the account\'s log goes.')
param logAnalyticsId string

@description('How often the account is stored, and where.')
@allowed(['Standard_LRS', 'Standard_ZRS'])
param sku string

@description('Enabled or Disabled.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string

@description('Where packages are.')
param packageContainerName string = 'packages'

@description('What people and the agent said, and which turns are done; and rows outside conversations.')
param tableNames string[] = ['conversations', 'documents']

@description('What is larger than a row: results to draw again, and files.')
param artifactContainerName string = 'artifacts'

@description('What the queues of the tools for agents in Foundry begin with, such as azure-function-ask.')
param foundryToolQueues string[]

@description('The identity of the Foundry project. Empty: none.')
@maxLength(36)
param foundryPrincipalId string

@description('Whether long answers are kept behind links.')
param foundryAnswerLinks bool

@description('Long answers, behind links.')
param answerContainerName string = 'foundry-answers'

@description('Requests of agents in Foundry that another instance may have to resume, and those that could not be processed.')
param foundryRequestQueueNames string[] = ['foundry-requests', 'foundry-requests-poison']

@description('Turns that another instance may have to resume, and messages that could not be processed.')
param queueNames string[] = ['turns', 'turns-poison']

// Foundry writes to the first and reads the second. The host moves what failed too often to the third.
var foundryExchangeQueueNames = flatten(map(foundryToolQueues, tool => ['${tool}-input', '${tool}-output']))
var foundryPoisonQueueNames = map(foundryToolQueues, tool => '${tool}-input-poison')
var allQueueNames = concat(
  queueNames,
  empty(foundryToolQueues) ? [] : foundryRequestQueueNames,
  foundryExchangeQueueNames,
  foundryPoisonQueueNames
)

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe' // Storage Blob Data Contributor
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true // the package before this one
    deleteRetentionPolicy: {
      enabled: true
      days: 14
    }
    // Consumption reads its package from a container whenever an instance starts.
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 14
    }
  }
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: packageContainerName
  properties: {
    publicAccess: 'None'
  }
}

resource artifacts 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: artifactContainerName
  properties: {
    publicAccess: 'None'
  }
}

// The agent's identity owns the account's blobs, and so may sign links to them.
resource answers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = if (foundryAnswerLinks) {
  parent: blobs
  name: answerContainerName
  properties: {
    publicAccess: 'None'
  }
}

// Every deployed build is kept under its own name, for going back. Only former versions of agent.zip are deleted, and each
// of those is such a build too. A deleted artifact would stay as an earlier version; it
// goes, and Azure can restore it for the days of deleteRetentionPolicy, like every blob of the account.
resource replacedBlobs 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'replaced-packages'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${packageContainerName}/agent.zip']
            }
            actions: {
              version: {
                delete: {
                  daysAfterCreationGreaterThan: 30
                }
              }
            }
          }
        }
        {
          name: 'deleted-artifacts'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${artifactContainerName}/']
            }
            actions: {
              version: {
                delete: {
                  daysAfterCreationGreaterThan: 0
                }
              }
            }
          }
        }
        // A link is read for an hour; the rules run once a day.
        {
          name: 'answers-behind-links'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${answerContainerName}/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: 1
                }
              }
              version: {
                delete: {
                  daysAfterCreationGreaterThan: 0
                }
              }
            }
          }
        }
      ]
    }
  }
  dependsOn: [
    blobs
  ]
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' = [
  for tableName in tableNames: {
    parent: tableService
    name: tableName
  }
]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' = [
  for queueName in allQueueNames: {
    parent: queueService
    name: queueName
  }
]

// The Functions host makes containers of its own for leases and keys, and a table for its diagnostic events; on both
// plans it demands these two roles on the account, which is the agent's only.
resource ownsBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, blobDataOwner)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource writesTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, tableDataContributor)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tableDataContributor)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource writesQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (queueName, i) in allQueueNames: {
    name: guid(account.id, queueName, principalId, queueDataContributor)
    scope: queues[i]
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

// Microsoft's documentation demands this role, and not on the account: https://learn.microsoft.com/azure/ai-foundry/agents/how-to/tools/azure-functions
resource foundryUsesQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for queueName in (empty(foundryPrincipalId) ? [] : foundryExchangeQueueNames): {
    name: guid(account.id, queueName, foundryPrincipalId, queueDataContributor)
    scope: queues[indexOf(allQueueNames, queueName)]
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
      principalId: foundryPrincipalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource uploadsPackages 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(packages.id, deployerObjectId, blobDataContributor)
  scope: packages
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    principalId: deployerObjectId
  }
}

resource blobLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: blobs
  properties: {
    workspaceId: logAnalyticsId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

// Reads and deletions of what people said. The agent's own writes, twenty for a turn, would be most of the log.
resource tableLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: tableService
  properties: {
    workspaceId: logAnalyticsId
    logs: [
      {
        category: 'StorageRead'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

// Messages put, changed or deleted. Nearly all reads are polls of an empty queue, 1.3 million a month and instance.
resource queueLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: queueService
  properties: {
    workspaceId: logAnalyticsId
    logs: [
      {
        category: 'StorageWrite'
        enabled: true
      }
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
output packageContainerName string = packages.name
