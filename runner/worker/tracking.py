"""MLflow in a worker: all of a job's workers log to one run, which the runner has thought out and this file makes where it is wanted.

Nothing here imports mlflow: that takes a second, and is for the script to decide.
"""

import contextlib
import functools
import importlib.util
import json
import os
import sys
from typing import Any, Callable, Dict, Iterator, Optional

VARIABLE = "RUNNER_MLFLOW"  # JSON: {"run_id", "parent": of the pipeline, "store": folder or "", "drafts": […]}
RUN_ID = "MLFLOW_RUN_ID"
MODULE, FLUENT, WRITERS = "mlflow", "mlflow.tracking.fluent", ("mlflow.utils.file_utils", "mlflow.utils.yaml_utils")
META = "meta.yaml"  # of a run, or of an experiment


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
    """A folder of MLflow's file store, which counts when its meta.yaml is there: that comes last. Several workers may make it at once.

    A draft is {"folder": path, "files": {path in there: text}, "folders": [path in there, …]}.
    """
    folder = draft["folder"]
    if os.path.exists(os.path.join(folder, META)):
        return
    for name in draft["folders"]:
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    for name, text in sorted(draft["files"].items(), key=lambda file: file[0] == META):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with _beside(store) as making:
            with open(making, "w", encoding="utf-8") as file:
                file.write(text)
            if not os.path.exists(path):  # else it is another worker's, and maybe changed by now
                os.replace(making, path)


@contextlib.contextmanager
def _beside(store: str) -> Iterator[str]:
    """A path to write at, and to move the file from. MLflow takes all folders in its trash for experiments, but no files."""
    # A number of the process would not do: those of two containers may have the same.
    making = os.path.join(store, ".trash", "made.%s.yaml" % os.urandom(8).hex())
    os.makedirs(os.path.dirname(making), exist_ok=True)
    try:
        yield making
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(making)


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
    inside = os.path.join(os.path.realpath(store), "")

    if write_to is not None:

        @functools.wraps(write_to)
        def write_to_whole(filename: str, data: str) -> None:
            if os.path.realpath(filename).startswith(inside):
                with _beside(store) as making:
                    write_to(making, data)
                    os.replace(making, filename)
            else:
                write_to(filename, data)

        module.write_to = write_to_whole
    if write_yaml is not None:

        @functools.wraps(write_yaml)
        def write_yaml_whole(root: str, file_name: str, data: Any, overwrite: bool = False, *others: Any, **named: Any) -> None:
            path = os.path.join(root, file_name)
            if overwrite and file_name == META and os.path.realpath(path).startswith(inside):
                with _beside(store) as making:
                    write_yaml(os.path.dirname(making), os.path.basename(making), data, True, *others, **named)
                    os.replace(making, path)
            else:
                write_yaml(root, file_name, data, overwrite, *others, **named)

        module.write_yaml = write_yaml_whole
