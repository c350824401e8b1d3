"""`Model.get_model_path(name)`: where a model of the job lies. Standard library only, Python >= 3.7."""

import json
import os

__all__ = ["Model", "ModelNotFoundException"]

VARIABLE = "RUNNER_MODELS"  # JSON: [{"names": […], "version": … or null, "variable": of its path, "below": name in there, or ""}, …]


class ModelNotFoundException(Exception):
    """The job has no such model."""


class Model(object):
    """A job has no register of models: it has those that it was given."""

    def __init__(self, *_arguments, **_named):
        raise NotImplementedError(
            "azureml.core.Model cannot be made here: there is no register of models; next: make the model an input of the job, or its "
            "task.model, and ask for Model.get_model_path(NAME)"
        )

    @staticmethod
    def get_model_path(model_name, version=None, _workspace=None):
        """The path of task.model, or of an input, by the name of the input, of the data asset, or of the file or folder."""
        models = json.loads(os.environ.get(VARIABLE) or "[]")
        for one in models:
            if model_name in one["names"] and (version is None or one["version"] in (None, str(version))):
                folder = os.environ.get(one["variable"], "")
                return os.path.join(folder, one["below"]) if one["below"] else folder
        known = ["%s%s" % (one["names"][0], ":" + one["version"] if one["version"] else "") for one in models]
        wanted = model_name if version is None else "%s:%s" % (model_name, version)
        raise ModelNotFoundException("the job has no model '%s'; it has: %s" % (wanted, ", ".join(known) or "none"))
