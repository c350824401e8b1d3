"""MLflow in a worker: all of a job's workers log to one run, which the runner has thought out and this file makes where it is wanted.

Nothing here imports mlflow: that takes a second, and is for the script to decide.
"""

import functools
import importlib.util
import json
import os
import shutil
import sys
from typing import Any, Dict, Optional

VARIABLE = "RUNNER_MLFLOW"  # JSON: {"run_id", "parent": of the pipeline, "store": folder or "", "drafts": […]}
RUN_ID = "MLFLOW_RUN_ID"
MODULE = "mlflow"


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
    sys.meta_path.insert(0, _Noticing(facts["run_id"]))


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
    making = os.path.join(store, ".trash", "%s.%d" % (os.path.basename(folder), os.getpid()))  # MLflow does not look for anything there
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


class _Noticing(object):
    """The first finder of modules; does something about one module, once."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[Any]:  # noqa: ARG002
        if name != MODULE or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = getattr(spec and spec.loader, "exec_module", None)
        if spec is None or load is None:
            return spec

        def load_and_join(module: Any) -> None:
            load(module)
            stay_in_run(sys.modules.get(MODULE + ".tracking.fluent"), module, self._run_id)

        try:
            spec.loader.exec_module = load_and_join  # type: ignore
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
