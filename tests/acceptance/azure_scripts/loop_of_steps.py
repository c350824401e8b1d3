from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output, command, dsl

train = command(
    name="train_words",
    display_name="Train",
    code="./src",
    command="python words.py train --data ${{inputs.data}} --rate ${{inputs.rate}} --out ${{outputs.model}}",
    environment="azureml:AzureML-words@latest",
    inputs={"data": Input(type="uri_folder"), "rate": Input(type="number", default=1, min=0, max=10)},
    outputs={"model": Output(type="uri_folder", mode="rw_mount")},
)
join = command(
    code="./src",
    command="cat ${{inputs.first}}/model.txt ${{inputs.second}}/model.txt > ${{outputs.all}}",
    environment="azureml:AzureML-words@latest",
    inputs={"first": Input(type="uri_folder"), "second": Input(type="uri_folder")},
    outputs={"all": Output(type="uri_file")},
)


@dsl.pipeline(default_compute="cpu-cluster", continue_on_step_failure=True, tags={"kind": "loop"})
def sweep_by_hand(letters: Input):
    models = []
    for number, rate in enumerate((0.5, 2.5)):
        step = train(data=letters, rate=rate)
        step.name = f"train_{number}"
        step.compute = "cpu-cluster"
        step.environment_variables = {"NUMBER": str(number)}
        step.set_resources(instance_count=1)
        step.set_limits(timeout=120)
        models.append(step.outputs.model)
    joined = join(first=models[0], second=models[1])
    return {"all": joined.outputs.all}


job = sweep_by_hand(letters=Input(type="uri_folder", path="./data/letters"))
returned = ml_client.jobs.create_or_update(job)
ml_client.jobs.stream(returned.name)
assert {one.name.rpartition(".")[2] for one in ml_client.jobs.list(parent_job_name=returned.name)} == {"train_0", "train_1", "joined"}
print("all", ml_client.jobs.get(returned.name).outputs["all"].path)
