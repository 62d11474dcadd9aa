"""The Azure resources of an app, as an ARM template: everything by identity, no key and no secret in it."""

from __future__ import annotations

from typing import Any, Final, Literal

Plan = Literal["flex", "premium"]
Backend = Literal["storage", "scheduler"]

SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
PARAMETERS_SCHEMA: Final = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"

ROLES: Final = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Foundry User": "53ca6127-db72-4b80-b1b0-d745d6d5456d",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Durable Task Data Contributor": "0ad04412-c4d5-4796-b79c-f76d14c8d402",
}
"""Built-in roles; their ids are the same in every tenant.

Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
"""

DEPLOYMENT_CONTAINER: Final = "app-package"

_STORAGE: Final = "Microsoft.Storage/storageAccounts"
_PLAN: Final = "Microsoft.Web/serverfarms"
_SITE: Final = "Microsoft.Web/sites"
_LOGS: Final = "Microsoft.OperationalInsights/workspaces"
_INSIGHTS: Final = "Microsoft.Insights/components"
_FOUNDRY: Final = "Microsoft.CognitiveServices/accounts"
_VAULT: Final = "Microsoft.KeyVault/vaults"
_SCHEDULER: Final = "Microsoft.DurableTask/schedulers"

_STORAGE_ID: Final = f"resourceId('{_STORAGE}', variables('storageName'))"
_SITE_ID: Final = f"resourceId('{_SITE}', parameters('appName'))"
_PRINCIPAL: Final = f"reference({_SITE_ID}, '2024-04-01', 'full').identity.principalId"
_SCHEDULER_ID: Final = f"resourceId('{_SCHEDULER}', variables('schedulerName'))"
_BLOBS: Final = f"reference({_STORAGE_ID}, '2023-05-01').primaryEndpoints.blob"
_INSIGHTS_ID: Final = f"resourceId('{_INSIGHTS}', variables('insightsName'))"
_LOGS_ID: Final = f"resourceId('{_LOGS}', variables('logsName'))"
_PLAN_ID: Final = f"resourceId('{_PLAN}', variables('planName'))"

Json = dict[str, Any]


def template(plan: Plan, backend: Backend) -> Json:
    """Make the template.

    Args:
        plan: Flex Consumption, or Premium (one instance is always warm).
        backend: Where Durable Functions keeps its own: Azure Storage, or Durable Task Scheduler.
    """
    resources = [_storage(plan), _logs(), _insights(), _server_farm(plan), _site(plan, backend)]
    if plan == "flex":
        resources.append(_package_container())
    if backend == "scheduler":
        resources += [_scheduler(), _task_hub()]
    resources += _roles(backend)
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "metadata": {"description": f"A perdure app on Azure Functions, {plan} plan, Durable Functions on {backend}."},
        "parameters": _PARAMETERS,
        "variables": _VARIABLES,
        "resources": resources,
        "outputs": {
            "appName": {"type": "string", "value": "[parameters('appName')]"},
            "health": {
                "type": "string",
                "value": f"[format('https://{{0}}/api/health', reference({_SITE_ID}, '2024-04-01').defaultHostName)]",
            },
        },
    }


def parameters(task_hub: str) -> Json:
    """Make the file of the template's parameters, to be filled in."""
    values = {
        "appName": "",
        "taskHubName": task_hub,
        "foundryAccountName": "",
        "foundryProjectEndpoint": "",
        "foundryModel": "",
        "keyVaultName": "",
        "secretSettings": [],
    }
    return {
        "$schema": PARAMETERS_SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {name: {"value": value} for name, value in values.items()},
    }


def _text(description: str, default: str | None = None) -> Json:
    given = {} if default is None else {"defaultValue": default}
    return {"type": "string", **given, "metadata": {"description": description}}


_PARAMETERS: Final[Json] = {
    "appName": {
        **_text("Name of the function app: its address is https://NAME.azurewebsites.net."),
        "minLength": 2,
        "maxLength": 60,
    },
    "location": _text("Region of all resources.", "[resourceGroup().location]"),
    "pythonVersion": {**_text("Python of the app.", "3.12"), "allowedValues": ["3.11", "3.12", "3.13"]},
    "taskHubName": {
        **_text("TASKHUB_NAME: one for each app that shares the storage account or scheduler."),
        "minLength": 3,
        "maxLength": 45,
    },
    "foundryAccountName": _text("A Foundry resource in this resource group that the app may use; empty for none.", ""),
    "foundryProjectEndpoint": _text("FOUNDRY_PROJECT_ENDPOINT of the app; empty for none.", ""),
    "foundryModel": _text("FOUNDRY_MODEL of the app: the name of a deployment; empty for none.", ""),
    "keyVaultName": _text("A key vault in this resource group whose secrets the app may read; empty for none.", ""),
    "secretSettings": {
        "type": "array",
        "defaultValue": [],
        "metadata": {
            "description": 'Settings that are secrets of that vault: [{"name": "OPENAI_API_KEY", "secret": "key"}].'
        },
    },
}

_VARIABLES: Final[Json] = {
    "suffix": "[uniqueString(resourceGroup().id, parameters('appName'))]",
    "storageName": "[format('st{0}', variables('suffix'))]",
    "planName": "[format('plan-{0}', parameters('appName'))]",
    "logsName": "[format('log-{0}', parameters('appName'))]",
    "insightsName": "[format('appi-{0}', parameters('appName'))]",
    "schedulerName": "[format('dts-{0}', variables('suffix'))]",
    "secrets": (
        "[map(parameters('secretSettings'), lambda('s', createObject('name', lambdaVariables('s').name, 'value', "
        "format('@Microsoft.KeyVault(VaultName={0};SecretName={1})', parameters('keyVaultName'), "
        "lambdaVariables('s').secret))))]"
    ),
}


def _storage(plan: Plan) -> Json:
    return {
        "type": _STORAGE,
        "apiVersion": "2023-05-01",
        "name": "[variables('storageName')]",
        "location": "[parameters('location')]",
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "properties": {
            "minimumTlsVersion": "TLS1_2",
            "allowBlobPublicAccess": False,
            # A Premium plan keeps its content in Azure Files, which takes a key.
            "allowSharedKeyAccess": plan == "premium",
            "supportsHttpsTrafficOnly": True,
        },
    }


def _package_container() -> Json:
    return {
        "type": f"{_STORAGE}/blobServices/containers",
        "apiVersion": "2023-05-01",
        "name": f"[format('{{0}}/default/{DEPLOYMENT_CONTAINER}', variables('storageName'))]",
        "dependsOn": [f"[{_STORAGE_ID}]"],
    }


def _logs() -> Json:
    return {
        "type": _LOGS,
        "apiVersion": "2023-09-01",
        "name": "[variables('logsName')]",
        "location": "[parameters('location')]",
        "properties": {"sku": {"name": "PerGB2018"}, "retentionInDays": 30},
    }


def _insights() -> Json:
    return {
        "type": _INSIGHTS,
        "apiVersion": "2020-02-02",
        "name": "[variables('insightsName')]",
        "location": "[parameters('location')]",
        "kind": "web",
        "properties": {
            "Application_Type": "web",
            "WorkspaceResourceId": f"[{_LOGS_ID}]",
            "DisableLocalAuth": True,
        },
        "dependsOn": [f"[{_LOGS_ID}]"],
    }


def _server_farm(plan: Plan) -> Json:
    flex = {"name": "FC1", "tier": "FlexConsumption"}
    premium = {"name": "EP1", "tier": "ElasticPremium"}
    return {
        "type": _PLAN,
        "apiVersion": "2024-04-01",
        "name": "[variables('planName')]",
        "location": "[parameters('location')]",
        "kind": "functionapp" if plan == "flex" else "elastic",
        "sku": flex if plan == "flex" else premium,
        "properties": {"reserved": True} | ({} if plan == "flex" else {"maximumElasticWorkerCount": 20}),
    }


def _site(plan: Plan, backend: Backend) -> Json:
    properties: Json = {
        "serverFarmId": f"[{_PLAN_ID}]",
        "httpsOnly": True,
        "siteConfig": {
            "minTlsVersion": "1.2",
            "ftpsState": "Disabled",
            "healthCheckPath": "/api/health",
            "appSettings": f"[concat({_settings(plan, backend)}, variables('secrets'))]",
        },
    }
    depends = [_STORAGE_ID, _PLAN_ID, _INSIGHTS_ID]
    if plan == "flex":
        properties["functionAppConfig"] = _flex_config()
        depends.append(
            f"resourceId('{_STORAGE}/blobServices/containers', variables('storageName'), 'default', "
            f"'{DEPLOYMENT_CONTAINER}')"
        )
        del properties["siteConfig"]["healthCheckPath"]
    else:
        properties["siteConfig"]["linuxFxVersion"] = "[format('PYTHON|{0}', parameters('pythonVersion'))]"
    if backend == "scheduler":
        depends.append(f"resourceId('{_SCHEDULER}/taskHubs', variables('schedulerName'), parameters('taskHubName'))")
    return {
        "type": _SITE,
        "apiVersion": "2024-04-01",
        "name": "[parameters('appName')]",
        "location": "[parameters('location')]",
        "kind": "functionapp,linux",
        "identity": {"type": "SystemAssigned"},
        "properties": properties,
        "dependsOn": [f"[{item}]" for item in depends],
    }


def _flex_config() -> Json:
    return {
        "deployment": {
            "storage": {
                "type": "blobContainer",
                "value": f"[format('{{0}}{DEPLOYMENT_CONTAINER}', {_BLOBS})]",
                "authentication": {"type": "SystemAssignedIdentity"},
            }
        },
        "scaleAndConcurrency": {"instanceMemoryMB": 2048, "maximumInstanceCount": 100},
        "runtime": {"name": "python", "version": "[parameters('pythonVersion')]"},
    }


def _settings(plan: Plan, backend: Backend) -> str:
    """The settings of the app, as an expression."""
    values = {
        "AzureWebJobsStorage__accountName": "variables('storageName')",
        "AzureWebJobsStorage__credential": "'managedidentity'",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"reference({_INSIGHTS_ID}, '2020-02-02').ConnectionString",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "'Authorization=AAD'",
        "TASKHUB_NAME": "parameters('taskHubName')",
        "FOUNDRY_PROJECT_ENDPOINT": "parameters('foundryProjectEndpoint')",
        "FOUNDRY_MODEL": "parameters('foundryModel')",
    }
    if plan == "premium":
        key = f"listKeys({_STORAGE_ID}, '2023-05-01').keys[0].value"
        values |= {
            "FUNCTIONS_EXTENSION_VERSION": "'~4'",
            "FUNCTIONS_WORKER_RUNTIME": "'python'",
            "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING": (
                "format('DefaultEndpointsProtocol=https;AccountName={0};AccountKey={1};EndpointSuffix={2}', "
                f"variables('storageName'), {key}, environment().suffixes.storage)"
            ),
            "WEBSITE_CONTENTSHARE": "toLower(parameters('appName'))",
        }
    if backend == "scheduler":
        endpoint = f"reference({_SCHEDULER_ID}, '2025-11-01').endpoint"
        values["DURABLE_TASK_SCHEDULER_CONNECTION_STRING"] = (
            f"format('Endpoint={{0}};Authentication=ManagedIdentity', {endpoint})"
        )
    pairs = (f"createObject('name', '{name}', 'value', {value})" for name, value in values.items())
    return f"createArray({', '.join(pairs)})"


def _scheduler() -> Json:
    return {
        "type": _SCHEDULER,
        "apiVersion": "2025-11-01",
        "name": "[variables('schedulerName')]",
        "location": "[parameters('location')]",
        "properties": {"sku": {"name": "Consumption"}, "ipAllowlist": ["0.0.0.0/0"]},
    }


def _task_hub() -> Json:
    return {
        "type": f"{_SCHEDULER}/taskHubs",
        "apiVersion": "2025-11-01",
        "name": "[format('{0}/{1}', variables('schedulerName'), parameters('taskHubName'))]",
        "dependsOn": [f"[{_SCHEDULER_ID}]"],
    }


def _roles(backend: Backend) -> list[Json]:
    def role(name: str, kind: str, resource: str, condition: str = "") -> Json:
        target = f"resourceId('{kind}', {resource})"
        role_id = ROLES[name]
        known = [] if condition else [f"[{target}]"]
        return {
            "type": "Microsoft.Authorization/roleAssignments",
            "apiVersion": "2022-04-01",
            "name": f"[guid({target}, {_SITE_ID}, '{role_id}')]",
            "scope": f"[{target}]",
            **({"condition": f"[not(empty({condition}))]"} if condition else {}),
            "properties": {
                "description": name,
                "roleDefinitionId": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role_id}')]",
                "principalId": f"[{_PRINCIPAL}]",
                "principalType": "ServicePrincipal",
            },
            "dependsOn": [f"[{_SITE_ID}]", *known],
        }

    found = [
        role(name, _STORAGE, "variables('storageName')")
        for name in ("Storage Blob Data Owner", "Storage Queue Data Contributor", "Storage Table Data Contributor")
    ]
    found.append(role("Monitoring Metrics Publisher", _INSIGHTS, "variables('insightsName')"))
    if backend == "scheduler":
        found.append(role("Durable Task Data Contributor", _SCHEDULER, "variables('schedulerName')"))
    foundry, vault = "parameters('foundryAccountName')", "parameters('keyVaultName')"
    found.append(role("Foundry User", _FOUNDRY, foundry, foundry))
    found.append(role("Key Vault Secrets User", _VAULT, vault, vault))
    return found
