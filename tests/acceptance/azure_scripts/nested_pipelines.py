from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, load_component
from azure.ai.ml.dsl import pipeline

prep = load_component(source="./components/prep.yml")
train = load_component(source="./components/train.yml")
score = load_component(source="./components/score.yml")


@pipeline()
def train_and_look(data, rate: float = 0.25):
    fit = train(training_data=data, rate=rate)
    look = score(model=fit.outputs.model_output, data=data)
    return {"model": fit.outputs.model_output, "result": look.outputs.result}


@pipeline
def two_rates(letters: Input(type="uri_folder"), times: int, suffix: str = None):
    prepared = prep(raw=letters, times=times, suffix=suffix)
    slow = train_and_look(data=prepared.outputs.prepared)
    fast = train_and_look(data=prepared.outputs.prepared, rate=4.5)
    last = score(model=fast.outputs.model, data=letters)
    return {"slow": slow.outputs.result, "fast": fast.outputs.result, "last": last.outputs.result}


job = two_rates(letters=Input(type="uri_folder", path="./data/letters"), times=1)
job.settings.default_compute = "cpu-cluster"
job.display_name = "Two rates"
job.tags["kind"] = "nested"
job.experiment_name = "nested"
returned = ml_client.jobs.create_or_update(job)
ml_client.jobs.stream(returned.name)
done = ml_client.jobs.get(returned.name)
assert (done.display_name, done.tags["kind"], done.experiment_name) == ("Two rates", "nested", "nested")
for name in ("slow", "fast", "last"):
    print(name, done.outputs[name].path)
