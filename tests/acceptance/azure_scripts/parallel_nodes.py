from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import Input, Output, dsl, load_component
from azure.ai.ml.constants import AssetTypes, InputOutputModes
from azure.ai.ml.entities import Environment, JobResourceConfiguration
from azure.ai.ml.parallel import RunFunction, parallel_run_function

prepare_data = load_component(source="./components/prep.yml")
train_model = load_component(source="./components/train.yml")
batch_inference = parallel_run_function(
    name="batch_inference",
    display_name="Batch inference",
    description="one row per file",
    inputs={
        "files": Input(type=AssetTypes.URI_FOLDER, mode=InputOutputModes.RO_MOUNT),
        "model": Input(type=AssetTypes.URI_FOLDER, mode=InputOutputModes.DOWNLOAD),
    },
    outputs={"rows": Output(type=AssetTypes.URI_FILE)},
    input_data="${{inputs.files}}",
    instance_count=1,
    max_concurrency_per_instance=2,
    mini_batch_size="1",
    mini_batch_error_threshold=1,
    logging_level="DEBUG",
    retry_settings={"max_retries": 1, "timeout": 60},
    task=RunFunction(
        code="./src",
        entry_script="batch.py",
        program_arguments="--model ${{inputs.model}}",
        environment=Environment(image="mcr.example/words:1"),
        append_row_to="${{outputs.rows}}",
    ),
)


@dsl.pipeline(default_compute="cpu-cluster", description="a parallel node between others")
def parallel_in_pipeline(letters: Input, times: int = 2):
    prepared = prepare_data(raw=letters, times=times)
    model = train_model(training_data=letters)
    scored = batch_inference(files=prepared.outputs.prepared, model=model.outputs.model_output)
    scored.inputs.files.mode = "eval_mount" if False else "ro_mount"
    scored.resources = JobResourceConfiguration(instance_count=1)
    scored.mini_batch_error_threshold = 5
    scored.outputs.rows.mode = "upload"
    return {"rows": scored.outputs.rows}


job = parallel_in_pipeline(letters=Input(path="./data/letters", type=AssetTypes.URI_FOLDER))
returned = ml_client.jobs.create_or_update(job, experiment_name="parallel")
ml_client.jobs.stream(returned.name)
print("rows", ml_client.jobs.get(returned.name).outputs["rows"].path)
