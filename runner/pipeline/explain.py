"""A failed job in words: which mini-batch, which item, the user's exception with file and line, where the log is, how to go on."""

from __future__ import annotations

from runner.engine.session import Verdict
from runner.model.batch import INPUT_CHANGED, ErrorRecord
from runner.model.job import Step
from runner.model.paths import JobPaths

_MENDED = "(with --code if you have mended its code; if the job file, create a new job)"


def explain(verdict: Verdict, step: Step, paths: JobPaths) -> dict[str, str]:
    """`message` (its first line tells all that matters), `code`, `log`; empty for a job that completed without a failure."""
    if verdict.status == "Completed":
        return {}
    go_on = f"go on with: runner job resume -n {step.name.removesuffix(f'.{step.step}') if step.step else step.name}"
    if verdict.status == "Canceled":
        return {"message": f"cancelled; {go_on}", "code": verdict.code, "log": str(paths.logs)}
    if verdict.code in ("launch", "environment"):  # to go on would end in the same way: what is wrong stands in the job file
        return {"message": verdict.message, "code": verdict.code, "log": str(paths.logs)}
    if verdict.code == "nodes":  # of a cluster: they may be mended
        first, *rest = verdict.message.split("\n")
        return {"message": "\n".join([f"{first}; {go_on}", *rest]), "code": verdict.code, "log": str(paths.logs)}
    index, error = verdict.failures[0] if verdict.failures else (-1, None)
    if step.command and error is not None:
        return _of_command(error, go_on, paths)
    if error is None or verdict.code not in ("threshold", "init", "progress", "instance"):
        return {"message": f"{verdict.message}; {go_on}", "code": verdict.code, "log": str(paths.logs)}
    if error.type == INPUT_CHANGED:  # what was listed is checked when a job goes on
        go_on = f"start a new job, or put the input back as it was and {go_on}"
    advice = error.message.strip().splitlines()[1:] if error.kind == "input" else []
    go_on += "" if error.kind == "input" else " (with --code if you have mended the script)"
    lines = [f"{_headline(index, error)}; log: {error.log or paths.logs}; {go_on}", *advice, f"The job ended because {verdict.message}."]
    if error.traceback:
        lines += ["", error.traceback.rstrip()]
    return {"message": "\n".join(lines), "code": verdict.code, "log": error.log or str(paths.logs)}


def _of_command(error: ErrorRecord, go_on: str, paths: JobPaths) -> dict[str, str]:
    """That it was a mini-batch is nobody's business."""
    first, *rest = (error.message or error.kind).split("\n")
    if error.kind == "lost":
        first = f"the command {first}"
    if error.traceback:  # the end of its stderr, where it was killed
        rest += ["", error.traceback.rstrip()]
    log = error.log or str(paths.logs)
    return {
        "message": "\n".join([f"{first}; log: {log}; {go_on} {_MENDED}", *rest]),
        "code": "command",
        "log": log,
    }


def _headline(index: int, error: ErrorRecord) -> str:
    where = "init()" if index < 0 else f"mini-batch {index}"
    item = f", item {error.item}" if error.item else ""
    what = f"{error.type}: {error.message}" if error.type else error.message
    place = f" ({error.file}:{error.line})" if error.file and f"{error.file}:{error.line}" not in what else ""
    return f"{where}{item}: {what.splitlines()[0] if what else error.kind}{place}"
