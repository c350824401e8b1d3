from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Output, command
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import AmlCompute
from azure.ai.ml.exceptions import JobException

try:
    compute = ml_client.compute.get("local")
except Exception:
    compute = AmlCompute(name="local", size="STANDARD_DS3_V2", min_instances=0, max_instances=4)
    compute = ml_client.compute.begin_create_or_update(compute).result()
assert (compute.name, compute.size) == ("local", None)
assert ml_client.begin_create_or_update(AmlCompute(name="local")).result().name == "local"

job = command(
    code="./src",
    command="python words.py hello-file --name '${{inputs.name}}' --out ${{outputs.greeting}}",
    inputs={"name": "the whole world"},
    outputs={"greeting": Output(type=AssetTypes.URI_FILE)},
    environment="AzureML-words@latest",
    environment_variables={"MARK": "!"},
    compute="cpu-cluster",
    display_name="hello-world",
    experiment_name="greetings",
    description="One step",
    tags={"kind": "sample"},
    instance_count=1,
    timeout=600,
)
returned = ml_client.jobs.create_or_update(job)
assert returned.services["Studio"].endpoint == returned.studio_url
try:
    ml_client.jobs.stream(returned.name)
except JobException:
    raise SystemExit("it has failed") from None
done = ml_client.jobs.get(returned.name)
assert (done.status, done.display_name, done.experiment_name, done.tags["kind"]) == ("Completed", "hello-world", "greetings", "sample")
print("greeting", done.outputs["greeting"].path)
