"""MLflow in a worker: all of a job's workers log to one run, which the runner has thought out and this file makes where it is wanted.

Nothing here imports mlflow: that takes a second, and is for the script to decide.
"""

import functools
import importlib.util
import json
import os
import shutil
import sys
from typing import Any, Callable, Dict, Optional

VARIABLE = "RUNNER_MLFLOW"  # JSON: {"run_id", "parent": of the pipeline, "store": folder or "", "drafts": […]}
RUN_ID = "MLFLOW_RUN_ID"
MODULE, FLUENT, WRITERS = "mlflow", "mlflow.tracking.fluent", ("mlflow.utils.file_utils", "mlflow.utils.yaml_utils")
TRASH = ".trash"  # of a file store: MLflow does not look for anything there


def prepare() -> None:
    """Before the user's code: where mlflow is installed, the run is there, and each `import mlflow` is noticed."""
    facts = json.loads(os.environ.get(VARIABLE) or "{}")
    if not facts or os.environ.get(RUN_ID) != facts["run_id"] or not _is_installed():
        return
    try:
        for draft in facts["drafts"]:
            make_draft(facts["store"], draft)
    except OSError as error:
        sys.stderr.write("the run of MLflow could not be made: %s\n" % error)
    sys.meta_path.insert(0, _Noticing(MODULE, lambda module: stay_in_run(sys.modules.get(FLUENT), module, facts["run_id"])))
    for name in WRITERS if facts["store"] else ():
        sys.meta_path.insert(0, _Noticing(name, lambda module: write_whole(module, facts["store"])))


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(MODULE) is not None
    except (ImportError, ValueError):
        return False


def make_draft(store: str, draft: Dict[str, Any]) -> None:
    """A folder of MLflow's file store, whole or not at all; whichever worker is first makes it.

    A draft is {"folder": path, "files": {path in there: text}, "folders": [path in there, …]}.
    """
    folder = draft["folder"]
    if os.path.exists(os.path.join(folder, "meta.yaml")):
        return
    making = _place_in_trash(store)
    for name in draft["folders"]:
        os.makedirs(os.path.join(making, name), exist_ok=True)
    for name, text in draft["files"].items():
        path = os.path.join(making, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    try:
        os.rename(making, folder)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        if not os.path.exists(os.path.join(folder, "meta.yaml")):
            raise


def _place_in_trash(store: str) -> str:
    """A path that no other worker has: processes of two containers may have one number."""
    return os.path.join(store, TRASH, "made.%s" % os.urandom(8).hex())


class _Noticing(object):
    """The first finder of modules; does something about one module when it is loaded, once."""

    def __init__(self, name: str, then: Callable[[Any], None]) -> None:
        self._name, self._then = name, then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[Any]:  # noqa: ARG002
        if name != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = getattr(spec and spec.loader, "exec_module", None)
        if spec is None or load is None:
            return spec

        def load_and_act(module: Any) -> None:
            load(module)
            self._then(module)

        try:
            spec.loader.exec_module = load_and_act  # type: ignore
        except AttributeError:  # a loader that allows no changes
            pass
        return spec


def stay_in_run(fluent: Any, module: Any, run_id: str) -> None:
    """MLflow forgets MLFLOW_RUN_ID when it has resumed that run: without this, `with mlflow.start_run():` in run() would be the job's
    run the first time, and another run with each further mini-batch.
    """
    end_run, active_run = getattr(fluent, "end_run", None), getattr(fluent, "active_run", None)
    if end_run is None or active_run is None:
        return

    @functools.wraps(end_run)
    def end_and_stay(*arguments: Any, **named: Any) -> Any:
        before = active_run()
        try:
            return end_run(*arguments, **named)
        finally:
            if before is not None and before.info.run_id == run_id:
                os.environ[RUN_ID] = run_id

    fluent.end_run = end_and_stay
    if getattr(module, "end_run", None) is end_run:
        module.end_run = end_and_stay


def write_whole(module: Any, store: str) -> None:
    """MLflow empties the file of a parameter, a tag or a run before it writes it. A worker that logs a parameter in between is told that it
    "was already logged with value=''", and one that is stopped there leaves it so. `module` is MLflow's, whose functions nobody has yet.
    """
    write_to, write_yaml = getattr(module, "write_to", None), getattr(module, "write_yaml", None)  # which has both, or one, by version
    if write_to is not None:

        @functools.wraps(write_to)
        def write_to_whole(filename: str, data: str) -> None:
            folder, name = os.path.split(filename)
            _write_beside(store, folder, lambda making: write_to(os.path.join(making, name), data))

        module.write_to = write_to_whole
    if write_yaml is not None:

        @functools.wraps(write_yaml)
        def write_yaml_whole(root: str, file_name: str, data: Any, overwrite: bool = False, *others: Any, **named: Any) -> None:
            if overwrite:
                _write_beside(store, root, lambda making: write_yaml(making, file_name, data, True, *others, **named))
            else:
                write_yaml(root, file_name, data, False, *others, **named)

        module.write_yaml = write_yaml_whole


def _write_beside(store: str, folder: str, write_in: Callable[[str], None]) -> None:
    """What `write_in(a folder)` makes there is moved to `folder`, which is directly written to where it is not in the store."""
    if not os.path.realpath(folder).startswith(os.path.join(os.path.realpath(store), "")):
        return write_in(folder)
    making = _place_in_trash(store)
    os.makedirs(making)
    try:
        write_in(making)
        for name in os.listdir(making):
            os.replace(os.path.join(making, name), os.path.join(folder, name))
    finally:
        shutil.rmtree(making, ignore_errors=True)
