"""The little of azureml-core that scoring scripts use, in the place of the real package where the script's environment lacks it.

The folder above has no `__init__.py`: other packages of that name, such as azureml-dataprep, go on being found.
"""

import importlib.util
import os
import sys

__all__ = ["Model", "Run"]


def _real():
    """The real package's folder: in a command, PYTHONPATH leads here before what is installed is looked at."""
    own = os.path.dirname(os.path.abspath(__file__))
    for folder in sys.modules["azureml"].__path__:
        there = os.path.join(folder, "core")
        if os.path.isfile(os.path.join(there, "__init__.py")) and not os.path.samefile(there, own):
            return there
    return None


def _become(folder):
    """Whoever imports this module gets the one of that folder."""
    path = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location(__name__, path, submodule_search_locations=[folder])
    sys.modules[__name__] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        "azureml.core.%s cannot be had here: there is no service behind it; allowed: %s; next: install azureml-core in the script's "
        "environment if the script needs no more of it than its classes" % (name, ", ".join(__all__))
    )


_there = _real()
if _there:
    _become(_there)
else:
    from .model import Model
    from .run import Run
