from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output, command, dsl
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Data, Environment

letters = Data(
    name="letters_data",
    path="./data/letters",
    type=AssetTypes.URI_FOLDER,
    description="Three letters",
    tags={"source_type": "web"},
    version="1.0.0",
)
letters = ml_client.data.create_or_update(letters)
print(f"letters_data:{letters.version}") if letters.version != "1.0.0" else None

dependencies = {"name": "words", "channels": ["conda-forge"], "dependencies": ["python=3.10", {"pip": ["pandas"]}]}
words_env = Environment(
    name="aml-words",
    description="Environment of the words pipeline",
    tags={"words": "1"},
    conda_file=dependencies,
    image="mcr.example/openmpi:latest",
    version="0.2.0",
)
words_env = ml_client.environments.create_or_update(words_env)

data_prep_component = command(
    name="data_prep_words",
    display_name="Data preparation",
    description="reads the letters, writes them in capitals",
    inputs={"raw": Input(type="uri_folder"), "times": Input(type="integer", default=2)},
    outputs={"prepared": Output(type="uri_folder", mode="rw_mount")},
    code="./src",
    command="python words.py prep --data ${{inputs.raw}} --times ${{inputs.times}} --out ${{outputs.prepared}}",
    environment=f"{words_env.name}:{words_env.version}",
)
data_prep_component = ml_client.create_or_update(data_prep_component.component)
assert (data_prep_component.name, data_prep_component.version) == ("data_prep_words", "1")

train_component = command(
    name="train_words",
    inputs={"training_data": Input(type="uri_folder"), "rate": Input(type="number")},
    outputs={"model": Output(type="uri_folder")},
    code="./src",
    command="python words.py train --data ${{inputs.training_data}} --rate ${{inputs.rate}} --out ${{outputs.model}}",
    environment="azureml:aml-words@latest",
)
ml_client.components.create_or_update(train_component.component)
assert {one.name for one in ml_client.components.list()} == {"data_prep_words", "train_words"}
assert [one.version for one in ml_client.data.list(name="letters_data")] == ["1.0.0"]


@dsl.pipeline(compute="serverless", description="data_prep-train pipeline")
def words_pipeline(pipeline_job_data_input, pipeline_job_learning_rate):
    prep_job = data_prep_component(raw=pipeline_job_data_input)
    train_job = ml_client.components.get("train_words", version="1")(
        training_data=prep_job.outputs.prepared, rate=pipeline_job_learning_rate
    )
    return {"prepared": prep_job.outputs.prepared, "model": train_job.outputs.model}


pipeline = words_pipeline(
    pipeline_job_data_input=Input(type="uri_folder", path=ml_client.data.get("letters_data", label="latest").id),
    pipeline_job_learning_rate=0.05,
)
pipeline_job = ml_client.jobs.create_or_update(pipeline, experiment_name="e2e_registered_components")
ml_client.jobs.stream(pipeline_job.name)
done = ml_client.jobs.get(pipeline_job.name)
for name in ("prepared", "model"):
    print(name, done.outputs[name].path)
