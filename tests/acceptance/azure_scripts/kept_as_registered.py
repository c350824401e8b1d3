from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

import pathlib

from azure.ai.ml import Input, load_component
from azure.ai.ml.dsl import pipeline

inner = ml_client.components.create_or_update(load_component("./components/train_and_score.yml"))
prep = ml_client.components.create_or_update(load_component("./components/prep.yml"))
pathlib.Path("./src/words.py").write_text("raise SystemExit('not what was registered')")
pathlib.Path("./components/train.yml").unlink()
prepare = load_component(client=ml_client, name="prep", version=prep.version)
train_and_score = load_component(client=ml_client, name=inner.name)
again = ml_client.components.create_or_update(prepare)
assert (again.name, again.version) == ("prep", "1")


@pipeline()
def kept(letters):
    first = prepare(raw=letters, suffix="!")
    second = train_and_score(data=first.outputs.prepared, rate=2)
    return {"result": second.outputs.result}


job = ml_client.jobs.create_or_update(kept(Input(type="uri_folder", path="./data/letters")))
ml_client.jobs.stream(job.name)
print("result", ml_client.jobs.get(job.name).outputs["result"].path)
