"""The little of azureml-core that scoring scripts use; the real package, where the script's environment has it, is found first.

The folder above has no `__init__.py`: other packages of that name, such as azureml-dataprep, go on being found.
"""

from .model import Model
from .run import Run

__all__ = ["Model", "Run"]


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        "azureml.core.%s cannot be had here: there is no service behind it; allowed: %s; next: install azureml-core in the script's "
        "environment if the script needs no more of it than its classes" % (name, ", ".join(__all__))
    )
