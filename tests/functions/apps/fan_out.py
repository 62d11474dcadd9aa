# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false
"""Fan-out and fan-in: files are counted side by side, and summed up."""

import logging

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
counting = df.Blueprint()


@app.route(route="count", methods=["POST"])
@app.durable_client_input(client_name="client")
async def count(req: func.HttpRequest, client):
    instance_id = await client.start_new("backup", client_input=req.get_json())
    return await client.wait_for_completion_or_create_check_status_response(req, instance_id, 20000, 100)


@counting.orchestration_trigger(context_name="context")
def backup(context: df.DurableOrchestrationContext):
    files = yield context.call_activity("list_files", context.get_input())
    if not context.is_replaying:
        logging.info("counting %d files", len(files))
    sizes = yield context.task_all([context.call_activity("size_of", name) for name in files])
    return {"files": len(files), "bytes": sum(sizes)}


@counting.activity_trigger(input_name="folder")
def list_files(folder: str) -> list:
    return [f"{folder}/{number}" for number in range(int(folder))]


@counting.activity_trigger(input_name="name")
def size_of(name: str) -> int:
    return int(name.split("/")[1])


app.register_functions(counting)
