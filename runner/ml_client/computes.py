"""`MLClient.compute`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.ml_client.absent import absent_name
from runner.sdk.foreign import is_foreign
from runner.sdk.record import not_found, refuse_unknown
from runner.sdk.submitted import AmlCompute, Compute, Poller

if TYPE_CHECKING:
    from runner.client import Client


class ComputeOperations:
    """`MLClient.compute`."""

    _ABSENT = (
        "begin_attach", "begin_delete", "begin_restart", "begin_start", "begin_stop", "begin_update",
        "enable_sso", "list_nodes", "list_sizes", "list_usage",
    )  # fmt: skip

    def __init__(self, client: Client, *, local: bool = False) -> None:
        """`local`: all jobs run on this machine, whatever compute they name."""
        self._client, self._local = client, local

    def get(self, name: str) -> Compute:
        """One compute of the workspace; raises a `UserError` that lists the known ones, unless all jobs run on this machine anyhow."""
        if self._local and not self._is_known(name):
            return Compute({**self._client.compute("local"), "name": name})
        try:
            return Compute(self._client.compute(name))
        except UserError as error:
            raise (error if self._is_known(name) else not_found(error)) from None

    def _is_known(self, name: str) -> bool:
        return name in self._client.workspace.computes

    def list(self, *, compute_type: str | None = None) -> Iterable[Compute]:
        """The computes of the workspace, `local` first."""
        return iter([Compute(entry) for entry in self._client.computes() if compute_type in (None, entry["type"])])

    def begin_create_or_update(self, compute: Any, **kwargs: Any) -> Poller[Compute]:
        """The compute of that name, where the workspace has it: as it is. Raises a `UserError` that says how to describe it, otherwise."""
        refuse_unknown("begin_create_or_update", kwargs, ("compute",))
        name = getattr(compute, "name", None)
        if not isinstance(compute, (AmlCompute, Compute)) and not is_foreign(compute):
            raise UserError(
                f"an object of type {type(compute).__qualname__} cannot be created here", allowed="a compute that workspace.yml describes"
            )
        if not self._local and not self._is_known(str(name)):
            raise UserError(
                f"the compute '{name}' cannot be made here: computes are machines that are there",
                todo=f"describe it in workspace.yml, as this machine or as a cluster: computes: {{{name}: {{type: local}}}}; "
                "or run all jobs on this machine: MLClient(…, local=True)",
            )
        return Poller(finished=lambda: True, await_end=lambda _timeout: None, outcome=lambda: self.get(str(name)), what=f"compute {name}")

    def __getattr__(self, name: str) -> Any:
        raise absent_name("MLClient.compute", name, self._ABSENT, ("get", "list", "begin_create_or_update"))
