"""Pipelines in the place of a step."""

from __future__ import annotations

from tests.acceptance.bad_jobs.row import BadJob, set_row


def outer_row(id_: str, old: str, new: str, *says: str, at: str | None = None, mistakes: int = 1) -> BadJob:
    return set_row(f"inner-{id_}", old, new, *says, at=at, edits="outer.yml", mistakes=mistakes)


def inner_row(id_: str, old: str, new: str, *says: str, at: str | None = None, mistakes: int = 1) -> BadJob:
    return set_row(f"inner-{id_}", old, new, *says, at=at, edits="parts/inner.yml", mistakes=mistakes)


_COMPONENT = "    component: ./parts/inner.yml\n"

INNER_PIPELINES = (
    BadJob(
        id="inner-missing",
        edits="outer.yml",
        changes=(("parts/inner.yml", "parts/iner.yml"),),
        says=("no such file", "outer.yml:14"),
        names="parts/iner.yml",
    ),
    outer_row("itself", "./parts/inner.yml", "./outer.yml", "the component contains itself: outer.yml → outer.yml", at="component:"),
    inner_row("circle-of-files", "    type: command\n", "    component: ./inner.yml\n", "contains itself: inner.yml → inner.yml"),
    outer_row("type", "    type: pipeline\n", "    type: command  # not\n", "its component of type pipeline"),
    outer_row("no-jobs", _COMPONENT, "", "'jobs' is missing", at="  middle:"),
    outer_row("both", _COMPONENT, f"{_COMPONENT}    jobs: {{}}\n", "exclude each other", at="jobs: {}"),
    outer_row("key", _COMPONENT, f"{_COMPONENT}    command: ls\n", "unknown key 'command' of a pipeline in a pipeline", at="command: ls"),
    outer_row(
        "input-unknown",
        "      share: ${{parent.inputs",
        "      shre: ${{parent.inputs",
        "no input 'shre'",
        "did you mean 'share'",
        mistakes=2,
    ),
    outer_row(
        "input-missing", "      files: ${{parent.jobs.first.outputs.made}}\n", "", "'files' is missing", at="    inputs:", mistakes=1
    ),
    outer_row(
        "input-type", "made: {type: uri_folder}", "made: {type: uri_file}", "of type uri_file, but is of type uri_folder", at="files: $"
    ),
    outer_row("input-range", "  share: 0.25", "  share: 2", "2 is out of range", at="      share: $"),
    outer_row("output-unknown", "outputs.counts}}", "outputs.count}}", "step 'middle' has no output 'count'", "did you mean 'counts'"),
    outer_row("step-of-inner", "jobs.middle.outputs.counts}}", "jobs.middle_count.outputs.counts}}", "no step 'middle_count'", "middle'"),
    outer_row(
        "circle",
        "    outputs:\n      made",
        "    inputs: {x: '${{parent.jobs.last.outputs.result}}'}\n    outputs:\n      made",
        "first → last → middle → first",
        at="  first:",
    ),
    outer_row("same-name", "  last:\n", "  middle_count: {command: ls}\n  last:\n", "two steps have the name 'middle_count'"),
    inner_row("parent", "${{parent.inputs.files}}", "${{parent.inputs.fils}}", "the pipeline has no input 'fils'", "did you mean 'files'"),
    inner_row("step", "parent.jobs.prepare.", "parent.jobs.first.", "the pipeline has no step 'first'", "prepare"),
    inner_row("output", "${{parent.outputs.counts}}", "${{parent.outputs.final}}", "the pipeline has no output 'final'", "counts"),
    inner_row(
        "steps-circle",
        "files: ${{parent.inputs.files}}",
        "files: ${{parent.jobs.count.outputs.counts}}",
        "prepare → count → prepare",
        at="  prepare:",
    ),
    inner_row("settings", 'version: "1"', "settings: {default_compute: local}", "the settings of the pipeline that it is part of count"),
    inner_row(
        "step-type",
        "    type: command\n    code",
        "    type: sweep\n    code",
        "the step 'prepare' is of type sweep",
        "pipeline",
        at="type: sweep",
    ),
    inner_row("output-type", "  counts: {type: uri_file}", "  counts: {type: string}", "'string' is not a type of outputs"),
)
