"""`MLClient.jobs`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.ml_client.absent import absent_name
from runner.sdk.foreign import foreign_job, is_foreign
from runner.sdk.job import Job
from runner.sdk.record import not_found, plain, refuse_unknown
from runner.sdk.submitted import JobFailedError, Poller, SubmittedJob, ValidationResult

if TYPE_CHECKING:
    from runner.client import Client
    from runner.spec.load import LoadedJob

OPTIONS = ("local", "python", "allow_large_snapshot", "priority")  # of a submission, as on the command line


class JobOperations:
    """`MLClient.jobs`."""

    _ABSENT = ("archive", "restore", "update")

    def __init__(self, client: Client, options: Mapping[str, Any]) -> None:
        self._client, self._options = client, dict(options)

    def create_or_update(
        self,
        job: Any,
        *,
        description: str | None = None,
        compute: str | None = None,
        tags: dict[str, str] | None = None,
        experiment_name: str | None = None,
        skip_validation: bool = False,
        **kwargs: Any,
    ) -> SubmittedJob:
        """Submits a job and returns it; it runs in the background. The keywords replace what the job says.

        Beyond Azure: `local=True`, `python=…`, `allow_large_snapshot=True`, `priority=…`, as the command line has them. Raises a
        `UserError` for a job with mistakes (all at once) or a name that is taken: jobs that exist are not updated.
        """
        refuse_unknown("create_or_update", kwargs, ("description", "compute", "tags", "experiment_name", "skip_validation", *OPTIONS))
        if skip_validation:
            warnings.warn("skip_validation has no effect: every job is checked before it starts", stacklevel=2)
        given = {"description": description, "compute": compute, "tags": tags, "experiment_name": experiment_name}
        loaded = _loaded(job, {key: value for key, value in given.items() if value is not None})
        return SubmittedJob(self._client.submit(loaded, **{**self._options, **kwargs}).to_json())

    def get(self, name: str) -> SubmittedJob:
        """The job as it is now; `<pipeline>.<step>` names a step."""
        try:
            return SubmittedJob(self._client.get(name).to_json())
        except UserError as error:
            raise not_found(error) from None

    def list(self, *, parent_job_name: str | None = None, list_view_type: str = "ActiveOnly", **kwargs: Any) -> Iterable[SubmittedJob]:
        """The jobs, newest first; with `parent_job_name` the steps of that pipeline. Beyond Azure: `tag="key=value"`, `status`,
        `max_results`. Nothing is ever archived.
        """
        refuse_unknown("list", kwargs, ("parent_job_name", "list_view_type", "tag", "status", "max_results"))
        if str(getattr(list_view_type, "value", list_view_type)) == "ArchivedOnly":
            return iter(())
        records = self._client.list(parent=parent_job_name, tag=kwargs.get("tag"), status=kwargs.get("status"))
        return iter([SubmittedJob(record.to_json()) for record in records[: kwargs.get("max_results")]])

    def stream(self, name: str) -> None:
        """Follows a job until it has ended, with its progress and its last page on stderr. Raises `JobFailedError` if it fails."""
        from runner.client import last_page
        from runner.report.progress import progress_view

        view = progress_view()
        try:
            record = self._client.stream(name, view)
        finally:
            view.close()
        print(f"\n{last_page(record)}", file=sys.stderr)
        if record.status == "Failed":
            raise JobFailedError((record.error or {}).get("message") or f"job {name} has failed: see {record.logs}")

    def begin_cancel(self, name: str, **kwargs: Any) -> Poller[None]:
        """Asks a running job to stop. The poller's `wait()` and `result()` return when it has."""
        refuse_unknown("begin_cancel", kwargs, ("name",))
        self._client.cancel(name)

        def await_end(timeout: float | None) -> None:
            _within(timeout, lambda: self._client.stream(name))

        return Poller(finished=lambda: self._client.get(name).finished, await_end=await_end, what=f"cancel of job {name}")

    def begin_delete(self, name: str, **kwargs: Any) -> Poller[None]:
        """Removes a job that has ended, with its logs and the outputs in its own place."""
        refuse_unknown("begin_delete", kwargs, ("name",))
        self._client.delete(name)
        return Poller(finished=lambda: True, await_end=lambda _timeout: None, what=f"removal of job {name}")

    def download(
        self,
        name: str,
        *,
        download_path: str | os.PathLike[str] = ".",
        output_name: str | None = None,
        all: bool = False,  # noqa: A002 — Azure's name
    ) -> None:
        """Copies the output of that name, everything (`all`), or the logs, as `runner job download` does."""
        self._client.download(name, Path(download_path).absolute(), output_name=output_name, everything=all)

    def validate(self, job: Any, *, raise_on_failure: bool = False, **kwargs: Any) -> ValidationResult:
        """Checks a job and plans it, without running user code."""
        refuse_unknown("validate", kwargs, ("raise_on_failure", *OPTIONS))
        options = {key: value for key, value in {**self._options, **kwargs}.items() if key in ("local", "python")}
        try:
            _, plans = self._client.validate(_loaded(job, {}), **options)
        except UserError as error:
            if raise_on_failure:
                raise
            return ValidationResult.of(error)
        return ValidationResult(plans=tuple(plans))

    def show_services(self, name: str, node_index: int = 0) -> None:  # noqa: ARG002 — Azure's signature
        """Jobs have no services here: None."""
        self._client.get(name)

    def __getattr__(self, name: str) -> Any:
        raise absent_name("MLClient.jobs", name, self._ABSENT, [key for key in dir(type(self)) if not key.startswith("_")])


def _loaded(job: Any, changes: Mapping[str, Any]) -> LoadedJob:
    if isinstance(job, Job):
        return job._loaded(changes)
    if is_foreign(job):  # some of them are mappings, too
        from runner.spec.load import job_from_mapping

        mapping, base = foreign_job(job)
        return job_from_mapping({**mapping, **changes}, base=base)
    if isinstance(job, Mapping):
        from runner.spec.load import job_from_mapping

        return job_from_mapping({**plain(job), **changes}, base=Path.cwd())
    raise UserError(
        f"an object of type {type(job).__qualname__} is no job",
        allowed="what command, parallel_run_function, a pipeline function or load_job gives; a mapping",
    )


def _within(timeout: float | None, follow: Callable[[], object]) -> None:
    """Waits for a call in a thread of its own, where there is a limit."""
    if timeout is None:
        follow()
        return
    import threading

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    thread.join(timeout)
