// Alerts: turns that fail or are given up, deliveries refused or lost, no answer, a queue or a timer that does not work,
// telemetry that stops.
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

@description('The Function App.')
param siteId string

@description('What the health probe asks.')
param healthUrl string

@description('Whether to ask it.')
param healthProbe bool

@description('The address that alerts are sent to. Empty: none.')
param email string

@description('Failed turns within 30 minutes, in percent.')
param failurePercent int

@description('Fewer turns say nothing about a rate.')
param minimumTurns int

@description('Accepted deliveries within an hour, without a trace of one.')
param minimumActivities int

@description('Deliveries refused within 30 minutes.')
param minimumRefused int

@description('Answers of 500 and above within 15 minutes.')
param minimumServerErrors int

@description('Whether the app is to look at jobs by itself.')
param jobWatch bool

@description('How long it may not look.')
param jobWatchSilence string

// A turn that was handed over has not ended: its row is a success, and says nothing about the turn.
// A new workspace may not know these tables before their first rows: Azure makes the rules without trying the queries.
var failureQuery = 'AppRequests | where Name == "turn" and tostring(Properties["agent.outcome"]) != "handed over" | summarize Turns = sum(ItemCount), Failed = sumif(ItemCount, Success == false) | where Turns >= ${minimumTurns} | project FailedPercent = 100.0 * Failed / Turns'

// The host records every call of the function `messages`; the agent records each one that it let in, as "turn" or as
// "activity ...". A quiet night has neither, and an installation or somebody who joins has both. Agents in Foundry are not
// Teams.
var silenceQuery = 'AppRequests | summarize Delivered = sumif(ItemCount, Name has "messages" and ResultCode startswith "2"), Recorded = countif((Name == "turn" or Name startswith "activity ") and not(Name endswith " foundry") and tostring(Properties["bot.channel"]) != "foundry") | where Delivered >= ${minimumActivities} and Recorded == 0'

// The Bot Service only posts: 405 is a browser or a scanner.
var refusedQuery = 'AppRequests | where Name has "messages" and not(ResultCode startswith "2") and ResultCode != "405" | summarize Refused = sum(ItemCount) | where Refused >= ${minimumRefused}'

// The host's warning when it moves a message; not only the word MaxDequeueCount, which is among the options that it
// logs at every start. The agent's own record says why, of a message that it cannot read.
// What the app finds on a poison queue of requests from Foundry it counts, whoever put it there.
var poisonQuery = 'union AppTraces, AppExceptions, AppMetrics | where Message contains "has reached MaxDequeueCount" or ExceptionType == "UnreadableMessageError" or Name == "foundry.poison"'

var givenUpQuery = 'AppRequests | where Name == "turn" and Properties["agent.failure"] == "AttemptsExhaustedError"'

var queueQuery = 'AppMetrics | where Name == "agent.hand_overs.missing" | summarize Missing = sum(Sum) | where Missing >= 3'

// It runs once a day. The first of all rows tells whether the app has been there for so long.
var retentionQuery = 'AppRequests | summarize Done = countif(Name == "retention" and Success == true), Failed = countif(Name == "retention" and Success == false), Since = min(TimeGenerated) | where Failed > 0 or (Done == 0 and Since < ago(30h))'

// https://learn.microsoft.com/azure/azure-monitor/logs/daily-cap
var cappedQuery = '_LogOperation | where Category == "Ingestion" and Detail contains "OverQuota"'

// No rows at all are a row here, with 0.
var jobWatchQuery = 'AppMetrics | summarize Passes = sumif(Sum, Name == "job_watch.pass") | where Passes == 0'

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

resource failures 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = {
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

// Each fires on one row: what is too few or none is in the query.
var rules = [
  {
    name: 'silence'
    title: 'deliveries without a trace'
    description: 'In the last hour the host accepted at least ${minimumActivities} deliveries from Teams, and the agent recorded nothing of them: its telemetry does not arrive, or it drops what people write. Write to it in Teams. If it answers, look for the role Monitoring Metrics Publisher on Application Insights and for the daily cap; if not, at FunctionAppLogs and at what was deployed last.'
    severity: 2
    windowSize: 'PT1H'
    query: silenceQuery
  }
  {
    name: 'refused'
    title: 'deliveries refused'
    description: 'In the last 30 minutes at least ${minimumRefused} calls of /api/messages were refused: people write and get nothing. AppRequests has the ResultCode. 401: compare MicrosoftAppId and MicrosoftAppTenantId of the Function App with the bot registration; if the agent answers you in Teams, a stranger called it. 500: every message crashes; look at AppExceptions and FunctionAppLogs, and go back to the build before. 503: a setting is wrong; /api/health/dependencies with the function key says which.'
    severity: 1
    windowSize: 'PT30M'
    query: refusedQuery
  }
  {
    name: 'poison'
    title: 'messages that cannot be processed'
    description: 'A message on the queue turns failed five times and is in turns-poison, or could not be read: that turn is not resumed, and the person was not told. Look at AppRequests with the name process_queue_message and at AppExceptions for why. UnreadableMessageError: written by another version of the agent, as after going back. Anything else: repair it, storage and its roles first, and put the message back within half an hour, while an answer still helps; docs/operating.md has the commands. A queue azure-function-...-input-poison or foundry-requests-poison: the agent in Foundry was told that its request failed, and nothing is put back; find out why in AppExceptions for the function of that tool, or for process_foundry_request.'
    severity: 1
    windowSize: 'PT30M'
    query: poisonQuery
  }
  {
    name: 'given-up'
    title: 'turns are given up'
    description: 'A turn was begun three times and no worker brought it to its end; the person was told, with an error id. Look at the OperationId of the turn in AppRequests and AppExceptions: an answer that Teams did not take has send calls that failed; workers that die while they answer leave nothing, so look at FunctionAppLogs, Diagnose and solve problems and the memory of the instances.'
    severity: 2
    windowSize: 'PT30M'
    query: givenUpQuery
  }
  {
    name: 'queue'
    title: 'interrupted turns would be lost'
    description: 'In the last hour the queue turns took no message of at least 3 questions. They are answered all the same, but if an instance ends meanwhile, nothing resumes them. /api/health/dependencies with the function key says what queue answers. Look at the identity\'s role Storage Queue Data Contributor, at the account\'s network rules, whether the queue is there, and at Azure\'s status; provision again makes the role and the queue.'
    severity: 2
    windowSize: 'PT1H'
    query: queueQuery
  }
  {
    name: 'retention'
    title: 'old conversations stay'
    description: 'In the last two days a deletion of old conversations failed, or there was none: what people said is kept longer than conversationRetentionDays. The workbook\'s Deletion of old conversations has its failure. StorageError: look at the role Storage Table Data Contributor, the network rules and the health of storage. No run at all: look at the function delete_expired in FunctionAppLogs; an app whose settings are not valid has none. The next run is at 03:17 UTC; this alert stays until two days after the failure.'
    severity: 2
    windowSize: 'P2D'
    query: retentionQuery
  }
  {
    name: 'capped'
    title: 'telemetry stops'
    description: 'Log Analytics reached its daily cap and takes no more until its reset hour: until then only the alert on server errors works, for it needs no log. Find what fills it (Usage | summarize sum(Quantity) by DataType) and stop that, or raise logDailyCapGB and provision again.'
    severity: 2
    windowSize: 'PT1H'
    query: cappedQuery
  }
]

var jobWatchRules = [
  {
    name: 'job-watch'
    title: 'nobody looks at the jobs'
    description: 'The job watch has ended no pass within ${jobWatchSilence}: jobs that fail meanwhile are neither told nor repaired. Look at AppExceptions for the pass that failed: WorkspaceError is the workspace or its permissions, StorageError the storage account and its roles. No run at all: look at the function watch_jobs in FunctionAppLogs; an app whose settings are not valid has none, and /api/health/dependencies with the function key says which. Also check JOB_WATCH_SCHEDULE: alertJobWatchSilence has to be longer than it waits.'
    severity: 1
    windowSize: jobWatchSilence
    query: jobWatchQuery
  }
]

resource onRows 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for rule in concat(rules, jobWatch ? jobWatchRules : []): {
    name: 'alert-${rule.name}-${baseName}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Databricks agent: ${rule.title}'
      description: rule.description
      severity: rule.severity
      enabled: true
      scopes: [logAnalyticsId]
      evaluationFrequency: 'PT15M'
      windowSize: rule.windowSize
      skipQueryValidation: true
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
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
]

// From the platform itself, in a minute: it needs neither the app nor Log Analytics. A new site has no such metric yet.
resource serverErrors 'Microsoft.Insights/metricAlerts@2026-01-01' = {
  name: 'alert-server-errors-${baseName}'
  location: 'global'
  tags: tags
  properties: {
    description: 'At least ${minimumServerErrors} requests to the Function App within 15 minutes were answered with 500 or above: the app does not start, crashes, or lacks a setting. Ask /api/health; look at FunctionAppLogs and Diagnose and solve problems, and go back to the build before if one was just deployed.'
    severity: 1
    enabled: true
    scopes: [siteId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'server-errors'
          metricNamespace: 'Microsoft.Web/sites'
          metricName: 'Http5xx'
          timeAggregation: 'Total'
          operator: 'GreaterThanOrEqual'
          threshold: minimumServerErrors
          skipMetricValidation: true
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
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

resource unreachable 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = if (healthProbe) {
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
