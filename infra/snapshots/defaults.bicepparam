using '../azure.bicep'

param resourceSuffix = 'dev'
param databricksBaseUrl = 'https://adb-1.2.azuredatabricks.net/serving-endpoints'
param databricksModelName = 'model'
