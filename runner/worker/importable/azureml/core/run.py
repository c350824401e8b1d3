"""`Run.get_context()`: what a script may ask about its job, and metrics. Standard library only, Python >= 3.7."""

import json
import logging
import os

__all__ = ["Run"]

INPUT = "AZURE_ML_INPUT_"
TRACKING = "RUNNER_MLFLOW"  # JSON with the id of the job's run of MLflow
ALLOWED = "id, experiment.name, parent, input_datasets, log, log_list, log_row, flush, complete"


class _Nameable(object):
    def __init__(self, name):
        self.name = name


class Run(object):
    """The job, or the step of a pipeline, that the script runs in; without one, an offline run, as azureml-core has them."""

    def __init__(self, run_id, experiment, parent=None):
        self.id = run_id
        self.experiment = _Nameable(experiment)
        self.parent = parent

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError("azureml.core.Run has no '%s' here: there is no service behind it; allowed: %s" % (name, ALLOWED))

    @classmethod
    def get_context(cls, allow_offline=True, **_named):
        """The run of this process."""
        run_id = os.environ.get("AZUREML_RUN_ID")
        if not run_id and not allow_offline:
            raise RuntimeError("this process belongs to no job; next: run the script in a job, or leave allow_offline=False out")
        experiment, root = os.environ.get("AZUREML_EXPERIMENT_ID", ""), os.environ.get("AZUREML_ROOT_RUN_ID")
        parent = cls(root, experiment) if root and root != run_id else None
        return cls(run_id or "OfflineRun", experiment, parent)

    @property
    def input_datasets(self):
        """Inputs of the job: name -> path."""
        return {name[len(INPUT) :]: path for name, path in os.environ.items() if name.startswith(INPUT)}

    def log(self, name, value, description="", step=None):  # noqa: ARG002
        """A metric of the job's run of MLflow, where the environment has MLflow; a line in the log of the entry script in any case."""
        logging.getLogger("azureml_user.entry_script").info("metric %s: %s", name, value)
        run_id = self._tracked()
        client = _client() if run_id else None
        if client is None:
            return
        try:
            number = float(value)
        except (TypeError, ValueError):
            client.set_tag(run_id, name, str(value))
        else:
            client.log_metric(run_id, name, number, step=step or 0)

    def log_list(self, name, value, description=""):
        """One metric with a step for each value."""
        for step, one in enumerate(value):
            self.log(name, one, description, step)

    def log_row(self, name, description="", **values):
        """A metric NAME.COLUMN for each column."""
        for column, value in values.items():
            self.log("%s.%s" % (name, column), value, description)

    def flush(self, timeout_seconds=300):
        """Nothing is kept back."""

    def complete(self, _set_status=True):
        """The job says itself when it has ended."""

    def _tracked(self):
        facts = json.loads(os.environ.get(TRACKING) or "{}")
        return facts.get("run_id") if self.id == os.environ.get("AZUREML_RUN_ID") else facts.get("parent")


def _client():
    """None where the environment has no MLflow."""
    try:
        from mlflow import MlflowClient
    except ImportError:
        try:
            from mlflow.tracking import MlflowClient  # of before 2.0
        except ImportError:
            return None
    return MlflowClient()
