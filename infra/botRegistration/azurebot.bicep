// The bot's registration with the Bot Service, and its Teams channel, which Microsoft 365 Copilot uses too.
@description('Of the registration, unique in the world.')
@maxLength(42)
param name string

@description('What people see.')
@minLength(1)
@maxLength(42)
param displayName string

@description('F0 or S1.')
@allowed(['F0', 'S1'])
param sku string = 'F0'

@description('On the registration.')
param tags object = {}

@description('The host name that answers, without https://.')
param botAppDomain string

@description('The identity that the bot is: its resource id.')
param identityResourceId string

@description('The identity\'s client id.')
param identityClientId string

@description('The identity\'s tenant.')
param identityTenantId string

@description('Where the registration\'s log goes. Empty: nowhere.')
param logAnalyticsId string = ''

resource bot 'Microsoft.BotService/botServices@2022-09-15' = {
  name: name
  location: 'global'
  tags: tags
  kind: 'azurebot'
  sku: {
    name: sku
  }
  properties: {
    displayName: displayName
    endpoint: 'https://${botAppDomain}/api/messages'
    msaAppId: identityClientId
    msaAppMSIResourceId: identityResourceId
    msaAppTenantId: identityTenantId
    msaAppType: 'UserAssignedMSI'
  }
}

resource teams 'Microsoft.BotService/botServices/channels@2022-09-15' = {
  parent: bot
  name: 'MsTeamsChannel'
  location: 'global'
  properties: {
    channelName: 'MsTeamsChannel'
    properties: {
      isEnabled: true
    }
  }
}

resource botLog 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(logAnalyticsId)) {
  name: 'to-log-analytics'
  scope: bot
  properties: {
    workspaceId: logAnalyticsId
    logs: [
      {
        category: 'BotRequest'
        enabled: true
      }
    ]
  }
}

output endpoint string = bot.properties.endpoint
