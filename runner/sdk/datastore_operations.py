"""`MLClient.datastores`: those of workspace.yml, to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from runner.errors import did_you_mean
from runner.sdk.record import UnknownNameError, refuse_unknown

if TYPE_CHECKING:
    from runner.workspace.config import Workspace


class Datastore:
    """Azure's attributes; beyond them `path`, of one that is a folder of this machine."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.name: str = fields["name"]
        self.type: str = "AzureBlob" if fields["container_name"] else "Local"
        self.is_default: bool = fields["default"]
        self.account_name, self.container_name = fields["account_name"], fields["container_name"]
        self.endpoint, self.path = fields["endpoint"], fields["path"]
        self.id = f"azureml:{self.name}"

    def __repr__(self) -> str:
        return f"Datastore(name={self.name!r}, type={self.type!r})"


class DatastoreOperations:
    """`MLClient.datastores`."""

    _ABSENT = ("create_or_update", "delete", "mount")

    def __init__(self, find: Callable[[], Workspace]) -> None:
        self._find = find

    def get(self, name: str, *, include_secrets: bool = False) -> Datastore:  # noqa: ARG002 — Azure's; secrets are never shown
        """One by name. Errors: a `UserError` that lists the known ones."""
        from runner.workspace.datastores import describe_datastore

        return Datastore(describe_datastore(self._find(), name))

    def get_default(self, *, include_secrets: bool = False) -> Datastore:  # noqa: ARG002
        """The one that outputs without a path go to."""
        return self.get(self._find().settings.default_datastore)

    def list(self, **kwargs: Any) -> Iterable[Datastore]:
        """All of them. Nothing is asked of the network."""
        refuse_unknown("list", kwargs, ("include_secrets",))
        from runner.workspace.datastores import list_datastores

        return iter([Datastore(one) for one in list_datastores(self._find())])

    def __getattr__(self, name: str) -> Any:
        if name in self._ABSENT:
            raise UnknownNameError(
                f"DatastoreOperations.{name} is not available in this release of runner", todo="describe datastores in workspace.yml"
            )
        known = ("get", "get_default", "list")
        raise UnknownNameError(f"DatastoreOperations has no attribute `{name}`", todo=did_you_mean(name, known))
