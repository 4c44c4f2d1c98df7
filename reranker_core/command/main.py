"""`batch-reranker`: the table of subcommands, and what becomes of errors."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from reranker_core import __version__
from reranker_core.command import (
    completion,
    convert,
    derive,
    evaluate,
    export,
    plan,
    preflight,
    report,
    run,
    verify,
)
from reranker_core.command.console import help_width
from reranker_core.command.help import describe_codes
from reranker_core.command.messages import tell_error
from reranker_core.command.subcommand import HELP_OPTIONS, hint_for
from reranker_core.errors import RerankError
from reranker_core.garbage import few_collections, skip_last_collections
from reranker_core.stopping import Stopped, ignore_signals

NAME = "batch-reranker"
SUBCOMMANDS: tuple[click.Command, ...] = (
    run.run,
    plan.plan,
    convert.convert,
    preflight.preflight,
    verify.verify,
    report.report,
    evaluate.evaluate,
    derive.derive,
    export.export,
)
EARLIER_NAMES = {"training-data": "export"}


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of work, not of the alphabet

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, EARLIER_NAMES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if "=" in args[0] and not ctx.resilient_parsing:
            raise click.UsageError(
                f"the subcommand must come first, for example: {NAME} run {' '.join(args)}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"\n{describe_codes()}\n{completion.HOW_TO}")


@click.group(
    cls=_Group,
    name=NAME,
    context_settings=HELP_OPTIONS,
    help="Score query-passage pairs with a reranker, in bulk, on Ray.",
)
@click.version_option(__version__, prog_name=NAME)
def group() -> None:
    """The command itself; each subcommand does the work."""


for subcommand in SUBCOMMANDS:
    group.add_command(subcommand)


def main() -> NoReturn:
    """The console script."""
    execute(group, NAME)


def execute(command: click.Command, name: str) -> NoReturn:
    """Run a command with the arguments of this process, and end the process with its exit code."""
    with few_collections():  # most of a command's own time is imports
        completion.install()
        code = _exit_code(command, name)
    skip_last_collections()
    sys.exit(code)


def _exit_code(command: click.Command, name: str) -> int:
    try:
        code: int | None = command.main(
            prog_name=name,
            standalone_mode=False,
            max_content_width=help_width(),
            terminal_width=help_width(),
            windows_expand_args=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        tell_error(f"{error.format_message()}{hint_for(error)}")
        return error.exit_code
    except click.Abort:  # ctrl-C before the subcommand began
        return 130
    except RerankError as error:
        tell_error(str(error))
        return error.exit_code
    except Stopped as stopped:
        ignore_signals()
        tell_error(str(stopped))
        return stopped.exit_code
    return code or 0
