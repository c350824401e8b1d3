from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output, command, load_component, load_data, load_environment, load_job, load_model
from azure.ai.ml.entities import Model
from azure.core.exceptions import ResourceNotFoundError

for name in ("prep", "train", "score"):
    component = load_component(f"./components/{name}.yml")
    try:
        ml_client.components.get(component.name)
    except ResourceNotFoundError:
        ml_client.components.create_or_update(component)
ml_client.data.create_or_update(load_data("./assets/letters.yml"))
ml_client.environments.create_or_update(load_environment("./assets/environment.yml"))
ml_client.models.create_or_update(load_model("./assets/model.yml"))
ml_client.models.create_or_update(Model(path="./assets/model", type="custom_model", name="words-model"))
assert [one.version for one in ml_client.models.list("words-model")] == ["2", "1"]

pipeline_job = ml_client.jobs.create_or_update(load_job("./by_name.yml"))
ml_client.jobs.stream(pipeline_job.name)
done = ml_client.jobs.get(pipeline_job.name)
for name in ("model", "result"):
    print(name, done.outputs[name].path)

score = command(
    inputs={
        "data": Input(type="uri_folder", path="azureml:letters@latest"),
        "model": Input(type="custom_model", path="azureml:words-model:1"),
    },
    outputs={"result": Output(type="uri_folder")},
    code="./src",
    command="python words.py score --data ${{inputs.data}} --model ${{inputs.model}} --out ${{outputs.result}}",
    environment="words-env@latest",
)
alone = ml_client.create_or_update(score)
ml_client.jobs.stream(alone.name)
print("alone", ml_client.jobs.get(alone.name).outputs["result"].path)
