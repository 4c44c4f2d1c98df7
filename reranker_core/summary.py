"""What a person reads: the plan before a run, the totals after it."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reranker_core.checks import Report
from reranker_core.config import PreflightChecks
from reranker_core.manifest import Totals
from reranker_core.prepare import Prepared


def print_plan(prepared: Prepared, console: Console) -> None:
    """What `--dry-run` shows: shards, parts, rows, bytes, and what a resume would skip."""
    plan = prepared.plan
    done = len(plan.parts) - len(prepared.todo)
    table = _table("Plan")
    table.add_row("input", f"{len(plan.shards):,} shards, {_size(plan.input_bytes)}")
    table.add_row("layout", "nested" if plan.schema.nested else "flat")
    about = "about " if plan.schema.nested else ""
    table.add_row("rows", f"{plan.rows:,} ({about}{plan.pairs:,} pairs)")
    table.add_row("parts", f"{len(plan.parts):,}")
    table.add_row("already committed", f"{done:,} parts, which this run would skip")
    table.add_row("to score", f"{len(prepared.todo):,} parts")
    table.add_row("passed through", ", ".join(plan.schema.carried))
    table.add_row("output", prepared.store.url)
    table.add_row("model", prepared.config.model.path)
    scoring = prepared.fingerprint
    lengths = f"{scoring['max_length']} tokens a pair, {scoring['query_max_length']} a query"
    table.add_row("lengths", lengths)
    table.add_row("scored as", prepared.choice)
    table.add_row("dtype", scoring["dtype"])
    console.print(table)


def print_totals(totals: Totals, prepared: Prepared, seconds: float, console: Console) -> None:
    """The closing summary."""
    table = _table("Complete")
    table.add_row("rows", f"{totals.rows:,} in {totals.parts:,} parts")
    table.add_row("pairs scored", f"{totals.scored:,}")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in totals.quarantined.items())
    table.add_row("quarantined", f"{totals.quarantined_pairs:,} {reasons and f'({reasons})'}")
    if totals.rescued:
        table.add_row("rescued in float32", f"{totals.rescued:,}")
    table.add_row("distinct pairs", f"{totals.distinct:,}, {totals.tokens:,} tokens")
    skipped = totals.parts - len(prepared.todo)
    table.add_row("time", f"{seconds:,.1f} s" + (f", {skipped:,} parts resumed" if skipped else ""))
    relaxed = [
        f"{group}={action}"
        for group, action in prepared.config.preflight.checks
        if action != "refuse"
    ]
    if relaxed:
        table.add_row("not enforced", f"preflight.checks: {', '.join(relaxed)}")
    table.add_row("output", prepared.store.url)
    console.print(table)


def print_report(report: Report, actions: PreflightChecks, digest: str, console: Console) -> None:
    """All checks of a preflight: what was measured, and what to do where one failed."""
    table = Table(title="Preflight", title_justify="left", box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        action = getattr(actions, check.group)
        verdict = "[green]passed" if check.passed else f"[red]failed ({action})"
        table.add_row(verdict, f"{check.group}/{check.name}", escape(check.measured))
        if not check.passed:
            table.add_row("", "", f"expected: {escape(check.expected)}")
            table.add_row("", "", escape(check.remedy))
    console.print(table)
    if report.device:
        console.print(
            f"{report.device} in {report.dtype} ({report.dtype_reason}); loading took "
            f"{report.loading_seconds:.1f} s, the checks {report.seconds:.1f} s",
            highlight=False,
        )
        console.print(f"input: {escape(json.dumps(report.prompt, ensure_ascii=False))}")
    console.print(f"model.digest={digest}", highlight=False, soft_wrap=True)


def _table(title: str) -> Table:
    table = Table(title=title, show_header=False, title_justify="left", box=None)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
