from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, dsl, load_component

train_and_score = load_component(source="./components/train_and_score.yml")
batch_score = load_component("./components/batch.yml")
prep = load_component("./components/prep.yml")


@dsl.pipeline(name="with_pipeline_component", default_compute="cpu-cluster")
def whole(letters: Input, suffix: str = "!"):
    prepared = prep(raw=letters, suffix=suffix)
    inner = train_and_score(data=prepared.outputs.prepared, rate=2.0)
    standard = train_and_score(data=letters)
    return {"result": inner.outputs.result, "standard": standard.outputs.result}


job = whole(letters=Input(type="uri_folder", path="./data/letters"))
returned = ml_client.jobs.create_or_update(job)
ml_client.jobs.stream(returned.name)
done = ml_client.jobs.get(returned.name)
for name in ("result", "standard"):
    print(name, done.outputs[name].path)
