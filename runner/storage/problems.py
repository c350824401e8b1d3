"""What can go wrong with blob storage, in words."""

from __future__ import annotations

import errno

from runner.errors import UserError


class StorageRefused(UserError):
    """Wrong credentials, no permission, no such account or container: it would be refused again."""


class BlobMissing(UserError):
    """There is no such blob, or nothing below such a folder."""


class BlobChanged(UserError):
    """The blob is not the one that was meant (ETag), or was written by somebody else."""


class BlocksLost(UserError):
    """Blocks that were staged are no longer there: somebody has committed the blob, or a week has passed."""


class StorageUnavailable(OSError):
    """The storage did not answer for longer than anybody wants to wait."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EIO, text)
