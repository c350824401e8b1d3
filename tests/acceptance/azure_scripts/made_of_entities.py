from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output, dsl
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import CommandComponent, Environment

environment = Environment(image="mcr.example/words:1", conda_file=None, tags={"a": "b"})
prep = CommandComponent(
    name="prep",
    display_name="Prepare",
    description="by hand",
    tags={"a": "b"},
    inputs={"raw": Input(type=AssetTypes.URI_FOLDER), "style": Input(type="string", enum=["!", "?"], default="?")},
    outputs={"prepared": Output(type=AssetTypes.URI_FOLDER)},
    code="./src",
    environment=environment,
    command="python words.py prep --data ${{inputs.raw}} --suffix ${{inputs.style}} --out ${{outputs.prepared}}",
)


@dsl.pipeline(display_name="of entities", experiment_name="entities", default_compute="cpu-cluster")
def twice(letters: Input, style="!"):
    once = prep(raw=letters, style=style)
    again = prep(raw=once.outputs.prepared)
    return again.outputs


job = twice(letters=Input(type="uri_folder", path="./data/letters"))
returned = ml_client.jobs.create_or_update(job)
ml_client.jobs.stream(returned.name)
done = ml_client.jobs.get(returned.name)
assert (done.display_name, done.experiment_name) == ("of entities", "entities")
print("prepared", done.outputs["prepared"].path)
