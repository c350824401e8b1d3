"""Groups of commands: one file per noun has one."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from runner.errors import UserError, did_you_mean


class Group(TyperGroup):
    """A group of commands that knows what a misspelled one may have meant, whatever the version of typer."""

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            problem = f"there is no command `{ctx.command_path} {args[0]}`"
            raise UserError(problem, allowed=", ".join(known), todo=did_you_mean(args[0], known))
        return super().resolve_command(ctx, args)


def make_group(text: str) -> typer.Typer:
    """A group of commands in the house style: plain help (rich costs 0.1 s), no tracebacks with colours."""
    return typer.Typer(
        help=text,
        cls=Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
