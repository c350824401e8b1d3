from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, dsl, load_component

prep = load_component(source="./components/prep.yml")


@dsl.pipeline(compute="cpu-cluster")
def maybe(letters: Input, suffix: str = None):
    with_it = prep(raw=letters, suffix="?")
    without_it = prep(raw=letters)
    passed_on = prep(raw=letters, suffix=suffix)
    return {
        "with_it": with_it.outputs.prepared,
        "without_it": without_it.outputs.prepared,
        "passed_on": passed_on.outputs.prepared,
    }


for suffix in (None, "#"):
    job = maybe(letters=Input(type="uri_folder", path="./data/letters"), suffix=suffix)
    returned = ml_client.jobs.create_or_update(job)
    ml_client.jobs.stream(returned.name)
    done = ml_client.jobs.get(returned.name)
    for name in ("with_it", "without_it", "passed_on"):
        print(f"{name}{suffix}", done.outputs[name].path)
