from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

ml_client = MLClient(
    credential=DefaultAzureCredential(),
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group_name="a-group",
    workspace_name="a-workspace",
)

from azure.ai.ml import load_job

job = load_job(source="./pipeline.yml")
job.display_name = "changed"
job.outputs.model.mode = "upload"
job.jobs["fit"].inputs.rate = 8.0
job.settings.continue_on_step_failure = False
returned = ml_client.jobs.create_or_update(job, tags={"by": "python"})
ml_client.jobs.stream(returned.name)
done = ml_client.jobs.get(returned.name)
assert (done.display_name, done.tags["by"]) == ("changed", "python")
print("model", done.outputs["model"].path)
