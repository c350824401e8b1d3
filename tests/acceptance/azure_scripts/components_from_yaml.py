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

parent_dir = "."
prepare_data = load_component(source=parent_dir + "/components/prep.yml")
train_model = load_component(source=parent_dir + "/components/train.yml")
score_data = load_component(source=parent_dir + "/components/score.yml")


@pipeline()
def words_pipeline(pipeline_job_input, times: int = 1, learning_rate: float = 0.1):
    """Prepares, trains, scores."""
    prepare = prepare_data(raw=pipeline_job_input, times=times)
    train = train_model(training_data=prepare.outputs.prepared, rate=learning_rate)
    score = score_data(model=train.outputs.model_output, data=prepare.outputs.prepared)
    return {
        "prepared": prepare.outputs.prepared,
        "model": train.outputs.model_output,
        "result": score.outputs.result,
    }


pipeline_job = words_pipeline(Input(type="uri_folder", path=parent_dir + "/data/letters"), times=2)
pipeline_job.outputs.prepared.mode = "upload"
pipeline_job.outputs.result.path = "./result"
pipeline_job.settings.default_compute = "cpu-cluster"
pipeline_job.settings.default_datastore = "workspaceblobstore"
pipeline_job.settings.force_rerun = True
pipeline_job.settings.continue_on_step_failure = False
pipeline_job = ml_client.jobs.create_or_update(pipeline_job, experiment_name="pipeline_samples")
ml_client.jobs.stream(pipeline_job.name)
done = ml_client.jobs.get(pipeline_job.name)
assert done.experiment_name == "pipeline_samples"
for name in ("prepared", "model", "result"):
    print(name, done.outputs[name].path)
