"""The cluster's secrets: files of one line of 64 hexadecimal digits."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from runner.errors import Place, UserError

NODE_TOKEN = Path("/etc/runner/node.token")
SUBMIT_TOKEN = Path("/etc/runner/submit.token")
NODE_TOKEN_MODE, SUBMIT_TOKEN_MODE = 0o600, 0o640


def make_token(file: Path, mode: int, field: str) -> bool:
    """Makes the file when it is missing, and says so; one that is there is checked. Never half written, also beside another head."""
    if file.exists():
        check_token(file, field)
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(secrets.token_hex(32) + "\n")
            temporary.chmod(mode)
            os.link(temporary, file)
        except FileExistsError:  # another process was first: its token counts
            return False
        finally:
            temporary.unlink()
    except OSError as error:
        problem = f"the token {file} cannot be made: {error.strerror}"
        raise UserError(problem, place=Place(field=field), todo="run this as root, or name a file that this user can write") from error
    return True


def check_token(file: Path, field: str) -> None:
    """Ray would say of a missing or empty token that the head does not answer."""
    place = Place(field=field)
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        todo = f"copy the file of that name from the head, or name where it is with {field}"
        raise UserError(f"there is no token {file}", place=place, todo=todo) from None
    except OSError as error:
        raise UserError(f"the token {file} cannot be read: {error.strerror}", place=place, todo="run this as root") from error
    if len(text) < 32 or not text.isprintable() or " " in text:
        todo = "copy it from the head, or remove it there and start the head again"
        raise UserError(f"{file} holds no token", place=place, allowed="one line of at least 32 characters", todo=todo)
    if field == "--node-token-file" and file.stat().st_mode & 0o077:
        raise UserError(f"others than its owner may read the token {file}", place=place, todo=f"chmod 600 {file}")
