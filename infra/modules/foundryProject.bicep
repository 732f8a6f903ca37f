// What the agent's identity may do in a Foundry project: make agents, ask them and delete them, and nothing beside the project.
@description('The Foundry resource.')
param accountName string

@description('The project in it.')
param projectName string

@description('The agent\'s identity.')
param principalId string

var foundryUser = '53ca6127-db72-4b80-b1b0-d745d6d5456d' // Azure AI User

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

resource project 'Microsoft.CognitiveServices/accounts/projects@2025-06-01' existing = {
  parent: account
  name: projectName
}

resource usesProject 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(project.id, principalId, foundryUser)
  scope: project
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', foundryUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
