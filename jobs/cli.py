"""What all jobs share: arguments, logging, and exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console

from reranker_core.config import Config, known_keys, load_config
from reranker_core.errors import EXIT_COMPLETE, RerankError
from reranker_core.stopping import stop_on_signals

EXIT_CODES = """\
exit codes:
  0  complete
  1  the job itself crashed; what is committed stays
  2  bad configuration or input
  3  preflight refused the model
  4  finished, but over the quarantine limit
  5  incomplete; run the same command again to resume
  6  the output belongs to another run, or another driver is at work on it
"""


@dataclass(frozen=True)
class Arguments:
    """What the command line says besides the configuration: the options of the job itself."""

    options: argparse.Namespace
    console: Console


def main(
    job: Callable[[Config, Arguments], None],
    description: str | None,
    add_options: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    placeholders: Mapping[str, str] | None = None,
) -> int:
    """Parse the command line, run `job`, and turn what it raises into an exit code.

    `placeholders` are for required keys that the job has no use for.
    """
    parser = _parser(description or "")
    add_options(parser)
    parsed = parser.parse_intermixed_args()
    _quieten()
    try:
        stop_on_signals()
        config = load_config(parsed.config, parsed.overrides, placeholders)
        job(config, Arguments(parsed, Console()))
    except RerankError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return EXIT_COMPLETE


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        epilog=_keys() + "\n" + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file; see configs/")
    parser.add_argument("overrides", nargs="*", metavar="section.field=value")
    return parser


def _keys() -> str:
    lines = ["configuration keys and their defaults:"]
    for key, field in known_keys().items():
        default = "(required)" if field.is_required() else _shown(field.default)
        lines.append(f"  {key}={default}")
        if field.description:
            lines.extend(
                textwrap.wrap(
                    field.description, 88, initial_indent=" " * 6, subsequent_indent=" " * 6
                )
            )
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if value in (True, False) else str(value)


def _quieten() -> None:
    """Our own messages at INFO, those of libraries from WARNING; no bars of theirs."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING
    )
    logging.getLogger("reranker_core").setLevel(logging.INFO)
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # A thread of Ray Data that outlives the run must not start a Ray of its own.
        "RAY_ENABLE_AUTO_CONNECT": "0",
    }.items():
        os.environ.setdefault(name, value)
