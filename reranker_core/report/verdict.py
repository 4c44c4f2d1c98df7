"""The printed result of a preflight: first the verdict, then the reasons."""

from __future__ import annotations

import json
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reranker_core.checks import Check, Report
from reranker_core.config import PreflightConfig
from reranker_core.config.sections.preflight import Language

NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "ru": "Russian",
    "zh": "Chinese",
    "ja": "Japanese",
    "ar": "Arabic",
    "hi": "Hindi",
}
# Says that nothing was found; what was looked for says more.
_NOTHING = ("none", "none found", "nothing unusual")


def verdict(report: Report, config: PreflightConfig) -> str:
    """One line: whether the model may score, in which languages, and what was not checked."""
    failed = {check: getattr(config.checks, check.group) for check in report.failed}
    refused = [check for check, action in failed.items() if action == "refuse"]
    if refused:
        return f"REFUSED: {_names(refused)}"
    asked = _list([NAMES[name] for name in config.languages])
    others = [name for name in get_args(Language) if name not in config.languages]
    parts = [f"PASSED: may score {asked}"]
    if config.checks.meaning != "refuse":
        parts = [f"PASSED, but its scores were not checked (meaning={config.checks.meaning})"]
    elif others:
        parts.append(f"not required: {', '.join(others)}")
    if failed:
        parts.append(f"failed, not enforced: {_names([*failed])}")
    parts += [
        f"note {c.group}/{c.name}" for c in report.checks if c.notable and c.group != "meaning"
    ]
    return "; ".join(parts)


def print_report(
    report: Report, config: PreflightConfig, digest: str, console: Console, verbose: bool = False
) -> None:
    """Print the verdict, failed checks and notable values, or all checks."""
    line = verdict(report, config)
    colour = "red" if line.startswith("REFUSED") else "green"
    console.print(f"[bold {colour}]{escape(line)}", highlight=False)
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        if verbose or check.notable or not check.passed:
            action = getattr(config.checks, check.group)
            state = "[green]passed" if check.passed else f"[red]failed ({action})"
            table.add_row(state, f"{check.group}/{check.name}", escape(_measured(check)))
            if not check.passed:
                table.add_row("", "", f"expected: {escape(check.expected)}")
                table.add_row("", "", escape(check.remedy))
    if table.row_count:
        console.print(table)
    passed = len(report.checks) - len(report.failed)
    more = "" if verbose else " (-v shows all)"
    console.print(f"{passed} of {len(report.checks)} checks passed{more}", highlight=False)
    if report.device:
        console.print(
            f"{report.device} in {report.dtype} ({report.dtype_reason}); loading took "
            f"{report.loading_seconds:.1f} s, the checks {report.seconds:.1f} s",
            highlight=False,
        )
        for outcome in filter(None, (report.compiled, report.products)):
            console.print(escape(outcome), highlight=False)
        console.print(f"input: {escape(json.dumps(report.prompt, ensure_ascii=False))}")
    if not line.startswith("REFUSED"):  # a digest that is printed is one to pin
        console.print(f"model.digest={digest}", highlight=False, soft_wrap=True)


def _measured(check: Check) -> str:
    return check.expected if check.passed and check.measured in _NOTHING else check.measured


def _names(checks: list[Check]) -> str:
    return ", ".join(f"{check.group}/{check.name}" for check in checks)


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
