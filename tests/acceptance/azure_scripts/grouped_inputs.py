from enum import Enum

from azure.ai.ml import Input, MLClient, load_component
from azure.ai.ml.dsl import pipeline
from azure.ai.ml.dsl._group_decorator import group
from azure.identity import DefaultAzureCredential

ml_client = MLClient(DefaultAzureCredential(), "00000000-0000-0000-0000-000000000000", "a-group", "a-workspace")

prep = load_component(source="./components/prep.yml")
train = load_component(source="./components/train.yml")
score = load_component(source="./components/score.yml")


class Mark(Enum):
    asked = "?"
    said = "!"


@group
class Preparing:
    times: int
    suffix: Mark = Mark.asked


@group
class Training:
    rate: Input(type="number", min=0, max=5, default=0.25)


@group
class Named:
    label = "grouped"


@group
class Parameters(Named):
    preparing: Preparing
    training: Training = Training(rate=4.5)


@pipeline
def prepare(letters: Input(type="uri_folder"), how: Preparing):
    prepared = prep(raw=letters, times=how.times, suffix=how.suffix)
    return {"prepared": prepared.outputs.prepared}


@pipeline
def everything(letters, params: Parameters, last: Training = Training(rate=0.5)):
    ready = prepare(letters, params.preparing)
    fit = train(training_data=ready.outputs.prepared, rate=params.training.rate)
    fit.environment_variables = {"LABEL": params.label}
    look = score(model=fit.outputs.model_output, data=letters)
    again = train(training_data=ready.outputs.prepared, rate=last.rate)
    return {"result": look.outputs.result, "again": again.outputs.model_output}


letters = Input(type="uri_folder", path="./data/letters")
job = everything(letters, Parameters(preparing=Preparing(times=2)))
job.inputs.params.preparing.suffix = "!"
job.settings.default_compute = "cpu-cluster"
returned = ml_client.jobs.create_or_update(job)
ml_client.jobs.stream(returned.name)
done = ml_client.jobs.get(returned.name)
for name in ("result", "again"):
    print(name, done.outputs[name].path)
