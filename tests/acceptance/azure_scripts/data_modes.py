from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output, command
from azure.ai.ml.constants import AssetTypes, InputOutputModes
from azure.ai.ml.entities import BuildContext, Environment, UserIdentityConfiguration

letters = Input(type=AssetTypes.URI_FOLDER, path="./data/letters", mode=InputOutputModes.RO_MOUNT)
job = command(
    code="./src",
    command="python words.py prep --data ${{inputs.letters}} --times ${{inputs.times}} --out ${{outputs.copies}}",
    inputs={"letters": letters, "times": 3},
    outputs={"copies": Output(type=AssetTypes.URI_FOLDER, path="./copied", mode=InputOutputModes.RW_MOUNT)},
    environment=Environment(image="mcr.example/words:1", name="words", description="an image"),
    identity=UserIdentityConfiguration(),
    is_deterministic=False,
)
job.inputs.letters.mode = InputOutputModes.DOWNLOAD
job.outputs.copies.mode = InputOutputModes.UPLOAD
job.set_resources(instance_count=1, shm_size="1g")
job.set_limits(timeout=300)
job.environment_variables["MORE"] = "1"
job.compute = "cpu-cluster"
assert BuildContext(path="./src").path == "./src"
returned = ml_client.create_or_update(job)
ml_client.jobs.stream(returned.name)
print("copies", ml_client.jobs.get(returned.name).outputs["copies"].path)
