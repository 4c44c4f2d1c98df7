"""`batch-reranker derive`."""

from __future__ import annotations

import time

import click

from reranker_core.command.console import make_console
from reranker_core.command.help import heeded
from reranker_core.command.like import configuration_like
from reranker_core.command.subcommand import Subcommand
from reranker_core.config import known_keys, load_config
from reranker_core.config.working_copy import refuse_in_copy
from reranker_core.errors import ConfigError
from reranker_core.stopping import stop_on_signals

_SECTIONS = ("output", "input", "guard", "verify", "ray")
_KEYS = "reuse.keep"
_HEEDS = [key for key in known_keys() if heeded(key, (*_SECTIONS, _KEYS)) and key != "output.path"]


@click.command("derive", cls=Subcommand, heeds=_HEEDS, codes=(0, 1, 2, 4, 5, 6))
@click.argument("output", metavar="OUTPUT", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
@click.option(
    "--to", metavar="FOLDER", required=True, type=click.Path(), help="Folder for the new output."
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="Configuration of the run that wrote OUTPUT, if OUTPUT does not contain it.",
)
def derive(output: str, overrides: tuple[str, ...], to: str, config: str | None) -> None:
    """Write an output with other columns from the scores of OUTPUT, without the model.

    The keys output.rank, output.normalize, output.label_thresholds, output.text, output.passthrough
    and output.columns set the new columns. Keys that are not set keep the values of OUTPUT. The
    input must be unchanged.
    """
    stop_on_signals()
    refuse_in_copy([(output, output), (f"--to {to}", to)])
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.partition(".")[0] not in _SECTIONS and key != _KEYS:
            raise ConfigError(
                f"{override}: derive does not compute scores, so only {_KEYS} and keys of the "
                f"sections {', '.join(_SECTIONS)} can change"
            )
        if key == "output.path":
            raise ConfigError(f"{override}: derive writes to the folder of --to. Remove this key")
    overrides = (*overrides, f"output.path={to}")
    base = None if config else configuration_like(output, overrides, "derive ")
    loaded = load_config(config, overrides, base=base)
    # Late, so that --help and wrong options answer at once.
    from reranker_core.input.schema import refuse_texts_left_out
    from reranker_core.output.derivation import prepare_derivation
    from reranker_core.output.identity import recorded
    from reranker_core.report.summary import print_proof
    from reranker_core.storage.store import Store

    start = time.monotonic()
    source, target = Store(output), Store(to)
    if f"{target.url}/".startswith(f"{source.url}/"):
        raise ConfigError(
            f"--to {to}: must be a folder outside of {output}, because derive does not change "
            "that output. Choose another folder"
        )
    target.check_writable()
    derivation = prepare_derivation(source, loaded)
    if recorded(target) is None:
        refuse_texts_left_out(derivation.plan.schema, loaded)
    from reranker_core.pipeline.derive import derive as run

    totals = run(derivation)
    print_proof(totals, target, time.monotonic() - start, make_console())
