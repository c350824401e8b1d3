"""The command `runner`: its groups of commands, and how errors and ends are told."""

from __future__ import annotations

import errno
import io
import os
import sys

import typer

from runner.cli.group import make_group
from runner.errors import UserError
from runner.version import VERSION

EXIT_FAILED, EXIT_WRONG, EXIT_CANCELLED = 1, 2, 130
# What a machine may refuse wherever files are used, and the exit status that follows: no bug of ours.
REFUSALS = {
    errno.ENOSPC: EXIT_FAILED,
    errno.EDQUOT: EXIT_FAILED,
    errno.EACCES: EXIT_WRONG,
    errno.EPERM: EXIT_WRONG,
    errno.EROFS: EXIT_WRONG,
}


app = make_group("Azure ML parallel jobs on machines of one's own.")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"runner {VERSION}")
        raise typer.Exit


@app.callback()
def _main(
    show_version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit."),
) -> None:
    """Azure ML parallel jobs on machines of one's own."""


def run() -> int:
    """Runs the command of `sys.argv`. Mistakes of the user are told without a traceback; exit status 2."""
    from runner.cli import assets, batch, cluster, compute, data, datastore, doctor, image, job, node

    _prepare_streams()
    app.add_typer(job.app, name="job")
    app.add_typer(batch.app, name="batch")
    app.add_typer(compute.app, name="compute")
    app.add_typer(datastore.app, name="datastore")
    app.add_typer(data.app, name="data")
    for kind in ("component", "environment", "model"):
        app.add_typer(assets.group(kind), name=kind)
    app.add_typer(image.app, name="image")
    app.add_typer(cluster.app, name="cluster")
    app.add_typer(node.app, name="node")
    app.command("doctor")(doctor.doctor)
    try:
        status = app(standalone_mode=False, prog_name="runner")
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except UserError as error:
        print(f"Error: {error.describe()}", file=sys.stderr)
        return EXIT_WRONG
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        print("cancelled", file=sys.stderr)
        return EXIT_CANCELLED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSALS:
            print(f"Error: {error}", file=sys.stderr)
            return REFUSALS[error.errno]
        if not hasattr(error, "format_message"):
            raise  # a bug of ours: with its traceback
        return _usage_error(error)


def _prepare_streams() -> None:
    """Started with closed standard streams, we get empty ones: no file opened later must become what others print to."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that cannot be decoded


def _usage_error(error: Exception) -> int:
    """What typer finds wrong with the options."""
    context = getattr(error, "ctx", None)
    message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]  # pydantic's word, which typer passes on
    if message.startswith("Usage:"):  # a group without a command: its help
        print(message, file=sys.stderr)
        return EXIT_WRONG
    print(f"Error: {message}", file=sys.stderr)
    if context is not None:
        print(f"  next: {context.command_path} --help", file=sys.stderr)
    return EXIT_WRONG
