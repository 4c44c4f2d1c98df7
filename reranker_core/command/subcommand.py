"""Subcommands: their help, and those that work with a configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from reranker_core.command.completion import complete_override
from reranker_core.command.console import help_width, make_console
from reranker_core.command.help import (
    EVERYTHING,
    EXIT_CODES,
    describe_codes,
    describe_keys,
    heeded,
)
from reranker_core.command.like import configuration_like
from reranker_core.command.messages import LOG_FORMAT_VARIABLE, LOG_FORMATS, set_up_messages
from reranker_core.config import known_keys, load_config
from reranker_core.config.peers import ours
from reranker_core.config.working_copy import refuse_paths_in_copy
from reranker_core.errors import ConfigError
from reranker_core.stopping import stop_on_signals

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class Subcommand(click.Command):
    """A subcommand whose help ends with its configuration keys and exit codes, and which has the
    option `--log-format`.

    Args:
        heeds: sections and keys that it reads.
        codes: exit codes that it can have.

    """

    def __init__(
        self,
        *args: Any,
        heeds: Iterable[str] = (),
        codes: Iterable[int] = EXIT_CODES,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **{"context_settings": HELP_OPTIONS, **kwargs})
        self._heeds, self._codes = tuple(heeds), tuple(codes)
        self.params.append(
            click.Option(
                ["--log-format"],
                type=click.Choice(LOG_FORMATS),
                default="text",
                envvar=LOG_FORMAT_VARIABLE,
                show_envvar=True,
                expose_value=False,
                callback=_log_as,
                help="Format of the messages on standard error; json: one object per line.",
            )
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The keys and the exit codes."""
        if self._heeds:
            formatter.write(f"\n{describe_keys(self._heeds, help_width())}")
        formatter.write(f"\n{describe_codes(self._codes)}")


def _log_as(ctx: click.Context, option: click.Parameter, log_format: str) -> None:
    if not ctx.resilient_parsing:  # a shell completes the command
        set_up_messages(log_format)


def subcommand(
    name: str, heeds: Iterable[str] = EVERYTHING, repeats: bool = False, folder: str | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a subcommand of a function that takes a configuration, a console, and its own options.

    Args:
        name: what users type.
        heeds: sections and keys that it reads. Others may be set, and required ones need not be.
        repeats: whether it has the option `--like`.
        folder: the key that one argument without `=` sets.

    """
    heeds = tuple(heeds)
    unused = {
        key: "unused"
        for key, field in known_keys().items()
        if field.is_required() and not heeded(key, heeds)
    }

    def decorate(work: Callable[..., None]) -> click.Command:
        @functools.wraps(work)
        def call(
            config: str | None,
            overrides: tuple[str, ...],
            like: str | None = None,
            **options: Any,
        ) -> None:
            stop_on_signals()
            if folder is not None:
                overrides = _with_folder(folder, overrides)
                if config is None and not any(each.startswith(f"{folder}=") for each in overrides):
                    raise ConfigError(f"name the output folder: batch-reranker {name} OUTPUT")
            if like is not None and config is not None:
                raise ConfigError("set either --config or --like, not both")
            base = None
            if like is not None:
                base = configuration_like(like, overrides, runs=name in ("run", "plan"))
            loaded = load_config(config, overrides, unused, base)
            refuse_paths_in_copy(loaded, unused)
            work(loaded, make_console(), **options)

        command = click.option(
            "--config", metavar="FILE", type=click.Path(), help="Configuration file in YAML."
        )(call)
        if repeats:
            command = click.option(
                "--like",
                metavar="OUTPUT",
                type=click.Path(),
                help="Use the configuration of an earlier run, from its output folder.",
            )(command)
        metavar = _METAVAR if folder is None else f"[OUTPUT] {_METAVAR}"
        command = click.argument(
            "overrides", nargs=-1, type=_Override(heeds, folder), metavar=metavar
        )(command)
        return click.command(name, cls=Subcommand, heeds=heeds)(command)

    return decorate


_METAVAR = "[SECTION.KEY=VALUE]..."


def _with_folder(key: str, overrides: tuple[str, ...]) -> tuple[str, ...]:
    # No key has a slash, but a folder may be named `out/day=2026-01-31`.
    folders = [each for each in overrides if "=" not in each or "/" in each.partition("=")[0]]
    if len(folders) > 1:
        raise ConfigError(f"{', '.join(folders)}: name one folder; each needs a command of its own")
    return tuple(f"{key}={each}" if each in folders else each for each in overrides)


class _Override(click.ParamType):
    """`section.key=value`, which shells complete."""

    name = "override"

    def __init__(self, heeds: tuple[str, ...], folder: str | None) -> None:
        self._heeds, self._folder = heeds, folder

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = complete_override(incomplete, self._heeds)
        if self._folder is not None and "=" not in incomplete and not found:
            return [CompletionItem(incomplete, type="file")]
        return found


def hint_for(error: click.ClickException) -> str:
    """What was meant by a wrong option or subcommand, as far as can be told."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name.lstrip("-").partition("=")[0]
        if key := name if name in known_keys() else ours(name):
            return f" Configuration keys have no dashes: {key}=…"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f" See '{error.ctx.command_path} --help'."
    return ""
