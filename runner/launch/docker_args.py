"""`docker_args`: the words of a job file, in the syntax of `docker run`, into parts of the Engine API's create body.

Words are read as spf13/pflag reads them for docker's command line: `--flag=value`, `--flag value`, `-fvalue`, `-f value`, switches combined
(`-itd`), `--switch=false`, later flags over earlier ones, `--` ends the flags. What no flag is would be an image or a command: an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runner.errors import UserError, UserErrors, did_you_mean
from runner.launch.docker_draft import Body, DockerArguments, Draft, Mount
from runner.launch.docker_files import finish_environment, finish_labels
from runner.launch.docker_flags import BY_LETTER, BY_NAME, NO_EFFECT, REFUSED, RESERVED, Flag
from runner.launch.docker_mounts import normal
from runner.launch.docker_network import finish_networks, finish_ports
from runner.launch.docker_security import finish_capabilities, finish_security
from runner.launch.docker_values import boolean, duration, not_negative, option

_HEALTH = {
    "--health-interval": "Interval",
    "--health-timeout": "Timeout",
    "--health-start-period": "StartPeriod",
    "--health-start-interval": "StartInterval",
}


def parse_docker_args(
    words: Sequence[str], *, environment: Mapping[str, str], directory: Path, reader_uid: int | None = None
) -> DockerArguments:
    """Parses all words, or raises `UserErrors` with all mistakes. Nothing is started and no engine is asked.

    `environment` is the client's, for `-e NAME`; relative paths start at `directory`, the job file's folder; files are read with the
    permission of `reader_uid`, by default this process's own.
    """
    uid = os.geteuid() if reader_uid is None else reader_uid
    draft = Draft(environment=environment, directory=directory, reader_uid=uid)
    errors: list[UserError] = []
    notices: dict[str, None] = {}
    try:
        for flag, shown, value in read_words(words):
            try:
                _put(draft, flag, shown, value)
            except UserError as error:
                errors.append(error)
            if flag.fate == NO_EFFECT:
                notices[f"docker_args: {flag.name} has no effect: {flag.reason}"] = None
    except UserError as error:
        errors.append(error)  # what a word means depends on those before it: there is no going on
    found = DockerArguments()
    if not errors:
        found = _finish(draft, tuple(notices), errors)
    if errors:
        raise UserErrors(errors)
    return found


def read_words(words: Sequence[str]) -> Iterator[tuple[Flag, str, str]]:
    """(flag, as it was written, value) of each flag."""
    if any("\0" in word for word in words):
        raise UserError("docker_args: a word has a NUL character", todo="take it out")
    rest = list(words)[::-1]
    while rest:
        word = rest.pop()
        if word == "--" and not rest:
            return
        if word == "--" or word == "-" or not word.startswith("-"):
            raise _positional(rest[-1] if word == "--" else word)
        yield from _long(word, rest) if word.startswith("--") else _short(word, rest)


def _positional(word: str) -> UserError:
    return UserError(
        f"docker_args: '{word}' is no flag",
        allowed="flags of docker run with their values; no image and no command: those are the environment's and the task's",
        todo=f"leave '{word}' out, or put it behind the flag that it belongs to",
    )


def _long(word: str, rest: list[str]) -> Iterator[tuple[Flag, str, str]]:
    name, sign, value = word.partition("=")
    flag = BY_NAME.get(name)
    if flag is None:
        raise _unknown(name)
    if not sign:
        value = "true" if flag.is_switch else _next(name, rest)
    yield flag, name, value


def _short(word: str, rest: list[str]) -> Iterator[tuple[Flag, str, str]]:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = BY_LETTER.get(letter)
        if flag is None:
            raise _unknown(f"-{letter}", "" if word == f"-{letter}" else word)
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif flag.is_switch:
            value = "true"
        else:
            value, letters = letters or _next(f"-{letter}", rest), ""
        yield flag, f"-{letter}", value


def _next(name: str, rest: list[str]) -> str:
    if not rest:
        raise UserError(f"docker_args: {name} has no value", todo=f"write {name} VALUE")
    return rest.pop()


def _unknown(name: str, inside: str = "") -> UserError:
    flag, blank, value = name.partition(" ")
    todo = did_you_mean(name, BY_NAME)
    if blank and flag in BY_NAME:
        todo = f"write a flag and its value as two entries of the list, '{flag}' and '{value}', or as {flag}={value}"
    where = f" (in {inside})" if inside else ""
    return UserError(f"docker_args: docker run has no flag {name}{where}", allowed="the flags that docker run --help lists", todo=todo)


def _put(draft: Draft, flag: Flag, shown: str, value: str) -> None:
    name = flag.name if shown == flag.name else f"{shown} ({flag.name})"
    if flag.fate == RESERVED:
        raise UserError(f"docker_args: {name} is reserved: {flag.reason}", todo=f"leave {shown} out")
    if flag.fate == REFUSED:
        raise UserError(f"docker_args: {name} is refused: {flag.reason}", todo=f"leave {shown} out")
    try:
        flag.put(draft, value)
    except ValueError as error:
        raise UserError(f"docker_args: '{value}' is no value of {name}", allowed=str(error)) from None


def _finish(draft: Draft, notices: tuple[str, ...], errors: list[UserError]) -> DockerArguments:
    """What needs all flags at once."""
    environment: dict[str, str | None] = {}
    labels: dict[str, str] = {}
    endpoints: dict[str, Body] = {}
    security: tuple[str, ...] = ()
    try:
        environment, labels = finish_environment(draft), finish_labels(draft)
        endpoints, security = finish_networks(draft), finish_security(draft)
        finish_capabilities(draft)
        finish_ports(draft)
        _finish_health(draft)
        _finish_log(draft)
        _finish_lists(draft)
    except UserError as error:
        errors.append(UserError(f"docker_args: {error.problem}", allowed=error.allowed, todo=error.todo))
    return DockerArguments(
        config=draft.config,
        host=draft.host,
        endpoints=endpoints,
        environment=environment,
        labels=labels,
        mounts=_last_by_target(draft.mounts),
        security=security,
        notices=notices,
    )


def _last_by_target(mounts: list[Mount]) -> tuple[Mount, ...]:
    return tuple({normal(one.target): one for one in mounts}.values())


def _finish_health(draft: Draft) -> None:
    found: Body = {key: duration(draft.last(flag)) for flag, key in _HEALTH.items() if draft.all(flag) and duration(draft.last(flag))}
    if draft.last("--health-cmd"):
        found["Test"] = ["CMD-SHELL", draft.last("--health-cmd")]
    if draft.all("--health-retries") and not_negative(draft.last("--health-retries")):
        found["Retries"] = not_negative(draft.last("--health-retries"))
    if draft.all("--no-healthcheck") and boolean(draft.last("--no-healthcheck")):
        if found:
            raise UserError("--no-healthcheck contradicts the other flags of --health-*", todo="leave out one or the other")
        found = {"Test": ["NONE"]}
    if found:
        draft.config["Healthcheck"] = found


def _finish_log(draft: Draft) -> None:
    driver, options = draft.last("--log-driver"), dict(map(option, draft.all("--log-opt")))
    if driver == "none" and options:
        raise UserError("--log-driver none takes no --log-opt", todo="leave out one of them")
    if driver or options:
        draft.host["LogConfig"] = {"Type": driver, "Config": options}


def _finish_lists(draft: Draft) -> None:
    """Limits by their names, the last of each; links that belong to no network of their own."""
    limits = draft.host.get("Ulimits")
    if isinstance(limits, list):
        named = {one["Name"]: one for one in limits}
        draft.host["Ulimits"] = [named[name] for name in sorted(named)]
    if draft.all("--link"):
        draft.host["Links"] = list(draft.all("--link"))
