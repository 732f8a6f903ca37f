// Keeps the agent's credential for Databricks. A secret that is given replaces the stored one; without one that stays.
@description('Of the vault, unique in the world.')
@maxLength(24)
param name string

@description('The Azure region.')
param location string

@description('On every resource.')
param tags object

@description('The agent\'s identity, which reads the secrets.')
param principalId string

@description('A personal access token.')
@secure()
param databricksToken string

@description('A service principal\'s secret.')
@secure()
param databricksClientSecret string

@description('Where the vault\'s log goes.')
param logAnalyticsId string

@description('Enabled or Disabled.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User

resource vault 'Microsoft.KeyVault/vaults@2026-05-15' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    // Even when open to the network it is closed to all but the roles on it. Linux Consumption has no addresses that a
    // rule could name.
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

resource token 'Microsoft.KeyVault/vaults/secrets@2026-05-15' = if (!empty(databricksToken)) {
  parent: vault
  name: 'databricks-token'
  properties: {
    value: databricksToken
    contentType: 'DATABRICKS_TOKEN'
  }
}

resource clientSecret 'Microsoft.KeyVault/vaults/secrets@2026-05-15' = if (!empty(databricksClientSecret)) {
  parent: vault
  name: 'databricks-client-secret'
  properties: {
    value: databricksClientSecret
    contentType: 'DATABRICKS_CLIENT_SECRET'
  }
}

resource readsSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, keyVaultSecretsUser)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource vaultLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: vault
  properties: {
    workspaceId: logAnalyticsId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
  }
}
