"""The digits example from Python. With `azure.ai.ml` in the place of `runner`, the same script is for Azure ML.

python examples/digits/train.py examples/data/digits
python examples/python_sdk.py
"""

from __future__ import annotations

from pathlib import Path

from runner import Input, MLClient, Output
from runner.constants import AssetTypes
from runner.entities import RetrySettings
from runner.parallel import RunFunction, parallel_run_function

EXAMPLES = Path(__file__).resolve().parent

score_digits = parallel_run_function(
    display_name="Handwritten digits",
    experiment_name="examples",
    inputs={
        "images": Input(type=AssetTypes.URI_FOLDER, path=str(EXAMPLES / "data/digits/images")),
        "model": Input(type=AssetTypes.URI_FILE, path=str(EXAMPLES / "data/digits/model.npz")),
    },
    outputs={"predictions": Output(type=AssetTypes.URI_FILE)},
    input_data="${{inputs.images}}",
    mini_batch_size="50",
    max_concurrency_per_instance=2,
    retry_settings=RetrySettings(max_retries=2, timeout=60),
    mini_batch_error_threshold=0,
    compute="local",
    task=RunFunction(
        code=str(EXAMPLES / "digits"),
        entry_script="score.py",
        program_arguments="--model ${{inputs.model}}",
        append_row_to="${{outputs.predictions}}",
    ),
)


def main() -> None:
    client = MLClient.from_config()
    job = client.jobs.create_or_update(score_digits)
    client.jobs.stream(job.name)
    print(client.jobs.get(job.name).outputs["predictions"].path)


if __name__ == "__main__":
    main()
