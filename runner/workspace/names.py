"""Names of jobs: generated ones that can be read aloud, and the check of given ones."""

from __future__ import annotations

import re
import secrets
import string

from runner.errors import Place, UserError

_ADJECTIVES = (
    "amber brave bright brisk calm clever cool crisp eager fair fancy fast fresh gentle glad golden good grand great green happy honest "
    "icy jolly keen kind lively loyal lucky merry mighty modest neat nice noble polite proud quick quiet sharp shiny silent silver "
    "smart solid steady stoic strong sunny sweet swift tidy warm wise witty young"
)
_NOUNS = (
    "apple arch atlas basin bell berry bird boat book branch bridge brook cave cedar cloud coast comet coral crane creek dawn delta "
    "drum eagle feather fern field flute forest fox garden gate harbor hazel hill horn island ivy lake lamp lantern leaf lemon lily "
    "maple meadow moon moss music oak ocean olive orange otter owl parcel pear pine plum pond quill reef river rock root rose sail "
    "seed shoe sky snow spoon star stone sugar sun tree valley wave wind wren yak"
)
_SUFFIX = string.ascii_lowercase + string.digits
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def generate_name() -> str:
    """For example `brave_harbor_x3k9q1`, as Azure makes them."""
    suffix = "".join(secrets.choice(_SUFFIX) for _ in range(6))
    return f"{secrets.choice(_ADJECTIVES.split())}_{secrets.choice(_NOUNS.split())}_{suffix}"


def check_name(name: str) -> str:
    """The name itself; raises `UserError` if it cannot be a job's."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of a job",
            place=Place(field="name"),
            allowed="letters, digits, `_`, `.` and `-`, at most 255, the first a letter or digit",
            todo="choose another name, or leave it out to have one made",
        )
    return name
