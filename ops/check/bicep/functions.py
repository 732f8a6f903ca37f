"""What Bicep has built in: https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions"""

# fmt: off
FUNCTIONS = frozenset({
    "any", "array", "base64", "base64ToJson", "base64ToString", "bool", "cidrHost", "cidrSubnet",
    "concat", "contains", "dataUri", "dataUriToString", "dateTimeAdd", "dateTimeFromEpoch",
    "dateTimeToEpoch", "deployer", "deployment", "empty", "endsWith", "environment",
    "extensionResourceId", "fail", "filter", "first", "flatten", "format", "getSecret", "groupBy",
    "guid", "indexOf", "int", "intersection", "items", "join", "json", "last", "lastIndexOf",
    "length", "listAccountSas", "listKeys", "loadFileAsBase64", "loadJsonContent",
    "loadTextContent", "loadYamlContent", "managementGroup", "managementGroupResourceId", "map",
    "mapValues", "max", "min", "newGuid", "objectKeys", "padLeft", "parseCidr", "pickZones",
    "providers", "range", "readEnvironmentVariable", "reduce", "reference", "replace",
    "resourceGroup", "resourceId", "shallowMerge", "skip", "sort", "split", "startsWith", "string",
    "subscription", "subscriptionResourceId", "substring", "sys", "take", "tenant",
    "tenantResourceId", "toLogicalZone", "toLower", "toObject", "toUpper", "trim", "tryGet",
    "union", "uniqueString", "uri", "uriComponent", "uriComponentToString", "utcNow",
})
DECORATORS = frozenset({
    "allowed", "batchSize", "description", "discriminator", "export", "maxLength", "maxValue", "metadata", "minLength",
    "minValue", "sealed", "secure",
})
