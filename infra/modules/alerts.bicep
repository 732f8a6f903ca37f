// What is told to people: turns that fail, turns that never come, and a bot that does not answer at all.
@description('The part of the names that all resources share.')
param baseName string

@description('The Azure region.')
param location string

@description('On every resource.')
param tags object

@description('The workspace that is asked.')
param logAnalyticsId string

@description('What the health probe belongs to.')
param applicationInsightsId string

@description('What the health probe asks.')
param healthUrl string

@description('Whether to ask it.')
param healthProbe bool

@description('Who is written to. Empty: no one.')
param email string

@description('Failed turns within 30 minutes, in percent.')
param failurePercent int

@description('Fewer turns say nothing about a rate.')
param minimumTurns int

@description('Accepted activities within an hour without one turn.')
param minimumActivities int

// A new workspace may not know these tables before their first rows: Azure makes the rules without trying the queries.
var failureQuery = 'AppRequests | where Name == "turn" | summarize Turns = sum(ItemCount), Failed = sumif(ItemCount, Success == false) | where Turns >= ${minimumTurns} | project FailedPercent = 100.0 * Failed / Turns'

// The host records every call of the function `messages`, whatever the agent does with it. A quiet night has neither.
var silenceQuery = 'AppRequests | summarize Activities = sumif(ItemCount, Name has "messages" and ResultCode startswith "20"), Turns = countif(Name == "turn") | where Activities >= ${minimumActivities} and Turns == 0'

var unreachableQuery = 'AppAvailabilityResults | where Name == "${probeName}" | summarize Failed = countif(Success == false), Answered = countif(Success == true) | where Failed >= 2 and Answered == 0'

var probeName = 'health-${baseName}'

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${baseName}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'dbxagent'
    enabled: true
    emailReceivers: empty(email)
      ? []
      : [
          {
            name: 'operations'
            emailAddress: email
            useCommonAlertSchema: true
          }
        ]
  }
}

resource failures 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'alert-failures-${baseName}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Databricks agent: turns fail'
    description: 'More than ${failurePercent} percent of the turns of the last 30 minutes failed. The workbook says by which error; the model endpoint, its permissions and its limits come first. An error id that a person saw is the OperationId of the failed request.'
    severity: 1
    enabled: true
    scopes: [logAnalyticsId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT30M'
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: failureQuery
          timeAggregation: 'Maximum'
          metricMeasureColumn: 'FailedPercent'
          operator: 'GreaterThan'
          threshold: failurePercent
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [people.id]
    }
  }
}

resource silence 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'alert-silence-${baseName}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Databricks agent: activities without turns'
    description: 'In the last hour Teams delivered at least ${minimumActivities} activities that the agent accepted, and it recorded not one turn. Either it drops what people write, or its telemetry does not arrive: write to it in Teams. If it answers, look for the role Monitoring Metrics Publisher and the daily cap; if not, at the log of the function.'
    severity: 2
    enabled: true
    scopes: [logAnalyticsId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: silenceQuery
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [people.id]
    }
  }
}

resource probe 'Microsoft.Insights/webtests@2022-06-15' = if (healthProbe) {
  name: probeName
  location: location
  tags: union(tags, {
    'hidden-link:${applicationInsightsId}': 'Resource'
  })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: probeName
    Name: probeName
    Kind: 'standard'
    Enabled: true
    Frequency: 900
    Timeout: 120 // a first start takes its time
    RetryEnabled: true
    Locations: [
      {
        Id: 'emea-nl-ams-azr' // West Europe
      }
      {
        Id: 'us-va-ash-azr' // East US
      }
    ]
    Request: {
      RequestUrl: healthUrl
      HttpVerb: 'GET'
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
    }
  }
}

resource unreachable 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = if (healthProbe) {
  name: 'alert-unreachable-${baseName}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Databricks agent: no answer'
    description: 'For 45 minutes no request to /api/health was answered with 200, from two continents: nobody can talk to the agent. 503 means that a setting is wrong: /api/health/dependencies with the function key says which. Anything else means that the app does not start: look at its log, its package in the storage account, and what was deployed last.'
    severity: 0
    enabled: true
    scopes: [logAnalyticsId]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT45M'
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: unreachableQuery
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [people.id]
    }
  }
}
