"""Printing of results: JSON, YAML or a table, to stdout."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.cli.options import Format
from runner.errors import one_line, printable
from runner.workspace.records import JobRecord

if TYPE_CHECKING:
    from runner.compatibility.keys import Finding
    from runner.model.job import Job
    from runner.pipeline.options import StepPlan

Rows = Iterable[Sequence[object]]
_RULE = 100  # characters below a heading; longer cells stand out


def print_data(data: object, output: Format | None) -> None:
    """JSON unless YAML is asked for."""
    if output is Format.yaml:
        import yaml

        print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=140), end="")
    else:
        text = json.dumps(data, indent=2, ensure_ascii=False)
        print(text.encode("utf-8", "backslashreplace").decode())  # which is how JSON writes what UTF-8 cannot


def print_job(record: JobRecord, output: Format | None) -> None:
    """One job."""
    if output is Format.table:
        print_table(("field", "value"), _job_rows(record))
    else:
        print_data(record.to_json(), output)


def print_jobs(records: Sequence[JobRecord], output: Format | None) -> None:
    """A list of jobs; a table unless something else is asked for."""
    if output in (Format.json, Format.yaml):
        print_data([record.to_json() for record in records], output)
        return
    rows = [(job.name, job.type, job.status, _done(job), _when(job.created_at), job.display_name) for job in records]
    print_table(("name", "type", "status", "mini-batches", "created (UTC)", "display name"), rows)


def print_table(head: Sequence[str], rows: Rows) -> None:
    """Columns as wide as they must be; the last one is not filled up."""
    lines = [tuple(head), *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, tuple("-" * min(width, _RULE) for width in widths))
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    first, *more = str(value).splitlines() or [""]
    return one_line(f"{first} …" if more else first)


def _when(stamp: str | None) -> str:
    """To the second: `2026-01-31 12:00:00`."""
    return (stamp or "")[:19].replace("T", " ")


def _done(job: JobRecord) -> str:
    progress = job.progress
    if job.type == "command" or (job.jobs and all(step.type == "command" for step in job.jobs.values())):
        return "-"
    failed = f", {progress.failed} failed" if progress.failed else ""
    total = f"{progress.total}" if progress.listed or job.finished else f"{progress.total}…"
    reused = f", {_reused(job)} reused" if _reused(job) else ""
    return f"{progress.succeeded + progress.failed}/{total}{reused}{failed}"


def _reused(job: JobRecord) -> int:
    """Mini-batches that ran in the job that the results were taken from."""
    return sum(one.progress.succeeded for one in (job, *job.jobs.values()) if one.reused_from)


def _job_rows(record: JobRecord) -> Rows:
    for key, value in record.to_json().items():
        if key == "progress" and record.type == "command":
            continue  # there is nothing to count
        if key == "jobs":
            value = {name: _without_counts(job) for name, job in value.items()}
        if key in ("progress", "jobs", "inputs", "outputs", "error", "tags", "properties"):
            yield from _nested(key, value)
            if key == "progress" and _reused(record):
                yield "progress.mini_batches.reused", _reused(record)
        elif value:
            yield key, value


def _without_counts(step: Mapping[str, object]) -> Mapping[str, object]:
    """A step of a pipeline; where it is a command, without the counts that it does not have."""
    return {key: value for key, value in step.items() if key != "progress" or step["type"] != "command"}


def _nested(key: str, value: object) -> Rows:
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from _nested(f"{key}.{name}", child)
    elif value is not None and value != "":  # 0 and false are values
        yield key, value


def print_plans(job: Job, plans: Sequence[StepPlan], output: Format | None) -> None:
    """What a job would do; a readable table for each step unless something else is asked for."""
    said = {text for plan in plans for text in plan.notices}
    notices = [text for text in job.notices if text not in said]  # of a pipeline as a whole
    if output in (Format.json, Format.yaml):
        from dataclasses import asdict

        steps = [asdict(plan) | {"arguments": list(plan.arguments), "notices": list(plan.notices)} for plan in plans]
        print_data({"name": job.name, "notices": notices, "steps": steps}, output)
        return
    for plan in plans:
        _print_plan(plan)
    for text in notices:
        print(f"Notice: {text}")
    print("The job is valid. Nothing was started.")


COMPARED = {
    "same": "same as Azure ML",
    "chosen": "chosen here",
    "differs": "differs",
    "later": "not in this release",
    "none": "not applicable here",
    "unknown": "unknown",
}


def print_findings(found: Iterable[Finding], output: Format | None) -> None:
    """A line for each key; what it says more stands below those that are not simply the same."""
    if output in (Format.json, Format.yaml):
        print_data(
            [{"key": one.key, "file": one.place.file, "line": one.place.line, "status": one.status, "here": one.here} for one in found],
            output,
        )
        return
    counts: Counter[str] = Counter()
    for one in found:
        counts[one.status] += 1
        print(f"{one.place.file}:{one.place.line}: {one.key}: {COMPARED[one.status]}")
        if one.here and one.status != "same":
            print(f"    {_without_links(one.here)}")
    said = ", ".join(f"{counts[status]} {text}" for status, text in COMPARED.items() if counts[status])
    print(f"{counts.total()} keys: {said}")


def _without_links(text: str) -> str:
    """Of Markdown: the words of links, and not where they lead."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)


def _print_plan(plan: StepPlan) -> None:
    rows = [
        ("input", plan.input),
        *([("command", plan.command.replace("\n", "\n" + " " * 16))] if plan.command else _split(plan)),
        ("python", plan.python),
        *(() if plan.command else [("arguments", " ".join(map(repr, plan.arguments)) or "none")]),
        ("output", plan.output),
        *(("notice", text) for text in plan.notices),
    ]
    if plan.compute != "local":
        rows.insert(0, ("compute", plan.compute))
    print(f"Step {plan.step}")
    for label, text in rows:
        print(f"  {label:<13} {printable(text)}")
    print()


def _split(plan: StepPlan) -> Iterator[tuple[str, str]]:
    from runner.workspace.units import show_size

    later = "known when it runs"
    yield "mini-batches", later if plan.mini_batches is None else f"{plan.mini_batches:,}"
    yield "items", later if plan.items is None else f"{plan.items:,} {plan.unit}"
    if plan.bytes is None or plan.largest is None:
        yield "size", later
    else:
        yield "size", f"{show_size(plan.bytes)}, the largest mini-batch {show_size(plan.largest)}"
    yield "workers", _workers(plan)


def _workers(plan: StepPlan) -> str:
    instances = f"{plan.instances} instance{'s' if plan.instances != 1 else ''}"
    return f"on {instances}, as many as the nodes decide" if plan.workers is None else f"{plan.workers} on {instances}"


def print_compute(compute: Mapping[str, Any]) -> None:
    """One compute as tables; of a cluster its nodes and jobs as well."""
    lists = ("nodes", "jobs", "maximum")
    fields = [(key, value) for key, value in compute.items() if key not in lists]
    fields += [(f"maximum of {kind}", count) for kind, count in (compute.get("maximum") or {}).items()]
    print_table(("field", "value"), fields)
    if compute.get("nodes") is not None:
        print()
        print_nodes(compute["nodes"])
    if compute.get("jobs"):
        print()
        rows = [_waiting(job) for job in compute["jobs"]]
        print_table(("job", "status", "user", "priority", "instances", "place", "reason"), rows)


def print_nodes(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Nodes of a cluster: what is free of what they have, and who holds the rest."""
    rows = [
        (
            node.get("name"),
            _condition(node),
            ", ".join(node.get("types") or ()) or "-",
            *(_free(node, key) for key in ("cpus", "gpus", "memory")),
            ", ".join(f"{one.get('job')} ({one.get('instance')}, {one.get('user')})" for one in node.get("holds") or ()) or "-",
        )
        for node in nodes
    ]
    print_table(("node", "state", "types", "cpus free", "gpus free", "memory free", "holds"), rows)


def _condition(node: Mapping[str, Any]) -> str:
    if not node.get("alive"):
        return "gone"
    if node.get("set_aside"):
        return f"set aside: {node['set_aside']}"
    return "draining" if node.get("draining") else "ready"


def _free(node: Mapping[str, Any], key: str) -> str:
    from runner.workspace.units import show_size

    free, total = ((node.get(part) or {}).get(key) or 0 for part in ("free", "total"))
    return f"{show_size(free)} of {show_size(total)}" if key == "memory" else f"{free:g} of {total:g}"


def _waiting(job: Mapping[str, Any]) -> tuple[object, ...]:
    wanted, has = [*(job.get("instances") or ()), "?", "?"][:2]
    place = job.get("position")
    values = (job.get("name"), job.get("status"), job.get("user"), job.get("priority"))
    return (*values, f"{has} of {wanted}", "-" if place is None else place, job.get("reason") or "")
