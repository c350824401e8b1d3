from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.parallel import RunFunction, parallel_run_function

job = parallel_run_function(
    name="alone",
    display_name="Alone",
    experiment_name="parallel",
    tags={"kind": "alone"},
    compute="cpu-cluster",
    inputs={"files": Input(type=AssetTypes.URI_FOLDER, path="./data/letters")},
    outputs={"rows": Output(type=AssetTypes.URI_FILE, path="./rows.txt")},
    input_data="${{inputs.files}}",
    mini_batch_size="2",
    instance_count=1,
    task=RunFunction(code="./src", entry_script="batch.py", append_row_to="${{outputs.rows}}"),
)
returned = ml_client.jobs.create_or_update(job)
assert returned.name == "alone"
ml_client.jobs.stream("alone")
done = ml_client.jobs.get("alone")
assert (done.display_name, done.experiment_name, done.tags["kind"]) == ("Alone", "parallel", "alone")
print("rows", done.outputs["rows"].path)
