"""What a person reads: the plan before a run, the totals after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reranker_core.errors import count
from reranker_core.errors.redaction import without_credentials
from reranker_core.input.added_columns import added_columns
from reranker_core.output.shared_pairs import SharedPairs
from reranker_core.output.totals import Totals
from reranker_core.report.earlier import earlier_output
from reranker_core.report.rate import duration
from reranker_core.storage.store import Store

if TYPE_CHECKING:  # for who proves an output, and needs neither torch nor transformers
    from reranker_core.prepare import Prepared
    from reranker_core.report.estimate import Estimate, Speed
    from reranker_core.report.evaluation import Evaluation
    from reranker_core.report.workload import Workload

_SHOWN_PARTS = 3


def print_plan(prepared: Prepared, console: Console) -> None:
    """What `--dry-run` shows: shards, parts, rows, bytes, and what a resume would skip."""
    plan = prepared.plan
    done = len(plan.parts) - len(prepared.todo)
    table = _table("Plan")
    table.add_row("input", f"{count(len(plan.shards), 'shard')}, {_size(plan.input_bytes)}")
    for name, version in plan.snapshots.items():
        table.add_row("snapshot", f"{version} of the table {name}")
    if plan.passed_over:
        table.add_row("skipped", _passed_over(plan.passed_over))
    table.add_row("layout", "nested" if plan.schema.nested else "flat")
    about = "about " if plan.schema.nested else ""
    table.add_row("rows", f"{plan.rows:,} ({about}{plan.pairs:,} pairs)")
    table.add_row("parts", f"{len(plan.parts):,}")
    if prepared.derivation is None:
        skipped = ", which a run would skip" if done else ""
        table.add_row("already committed", f"{count(done, 'part')}{skipped}")
    else:
        told = f"{count(done, 'part')}: their scores are kept, their columns are computed again"
        table.add_row("columns change", told)
    table.add_row("to score", count(len(prepared.todo), "part"))
    if prepared.changes:
        table.add_row("shards changed", f"{len(prepared.changes):,}")
        table.add_row("to remove", count(len(prepared.outstanding.discard), "part"))
    read = ", ".join(f"{role}={where}" for role, where in plan.schema.roles.items())
    table.add_row("columns", read)
    table.add_row("columns copied", ", ".join(plan.schema.carried))
    added = added_columns(prepared.config)
    table.add_row("columns added", ", ".join(name for _, name in added))
    if plan.not_kept:
        table.add_row("changed in the output", "\n".join(plan.not_kept))
    table.add_row("output", prepared.store.shown)
    for source in prepared.reuse.sources if prepared.reuse else ():
        pairs = count(source.pairs, "pair")
        table.add_row("earlier scores", f"up to {pairs}, from {without_credentials(source.url)}")
    if prepared.config.reuse.within:
        table.add_row("pairs in several parts", _shared(prepared))
    if prepared.config.report.against is not None:
        other = earlier_output(prepared.config)
        table.add_row("compared with", other.shown if other else "nothing: no earlier output")
    table.add_row("model", without_credentials(prepared.config.model.path))
    scoring = prepared.fingerprint
    lengths = f"{scoring['max_length']} tokens per pair, {scoring['query_max_length']} per query"
    table.add_row("lengths", lengths)
    table.add_row("scored as", prepared.choice)
    table.add_row("dtype", scoring["dtype"])
    if prepared.device_is_unknown:
        table.add_row("device", "cuda; only a run can check whether the cluster has GPUs")
    console.print(table)


def _shared(prepared: Prepared) -> str:
    found = SharedPairs(prepared.store).ready(part.name for part in prepared.todo)
    if found is None:
        return "the run finds them first and scores each once; an estimate counts each occurrence"
    return f"{found:,}, each is scored once; an estimate counts each occurrence"


def print_estimate(
    work: Workload, speed: Speed | None, found: Estimate | None, console: Console
) -> None:
    """What `plan --estimate` adds: work, time, price, examples, and the schema of the output."""
    table = _table("Estimate")
    saved = f"; already scored: {count(work.done, 'part')}" if work.done else ""
    table.add_row("to score", f"{count(work.pairs, 'pair')} in {count(work.parts, 'part')}{saved}")
    if work.sampled:
        table.add_row(
            "tokens",
            f"{work.tokens:,.0f} ({work.low:,.0f} to {work.high:,.0f}), from "
            f"{count(work.sampled, 'part')}",
        )
        equal = f"{1 - work.distinct:.1%} of the pairs; equal pairs are scored once"
        table.add_row("duplicates", equal if work.distinct < 1 else "none")
        if work.known is not None:
            table.add_row(
                "earlier scores", f"{work.known:.1%} of the sampled pairs; not scored again"
            )
        table.add_row("truncated", f"{work.cut:.1%} of the pairs")
    if speed is not None and found is not None:
        table.add_row("speed", f"{speed.tokens_per_second:,.0f} tokens/s per replica")
        table.add_row("taken from", speed.origin)
        if speed.unlike:
            table.add_row("unlike this run", f"{'; '.join(speed.unlike)}. The time may be far off")
        table.add_row(
            "time",
            f"{duration(3600 * found.hours)} ({duration(3600 * found.low)} to "
            f"{duration(3600 * found.high)}) with {count(found.replicas, 'replica')}",
        )
        hours = {"GPU hours": found.gpu_hours, "CPU hours": found.cpu_hours}
        for label, value in hours.items():
            if value:
                table.add_row(label, f"{value:,.2f}")
        if found.price is not None:
            table.add_row("price", f"{found.price:,.2f} (plan.price_per_hour per replica)")
        if found.saved:
            spared = [f"{duration(3600 * value)} by {by}" for by, value in found.saved.items()]
            table.add_row("saved", ", ".join(spared))
    for number, text in enumerate(work.examples, 1):
        table.add_row(f"pair {number}, as the model sees it", text)
    if work.schema is not None:
        columns = ", ".join(f"{each.name}: {each.type}" for each in work.schema)
        table.add_row("columns of the output", columns)
    console.print(table)


def print_totals(totals: Totals, prepared: Prepared, seconds: float, console: Console) -> None:
    """The closing summary."""
    table = _table("Complete")
    _add_counts(table, totals)
    if totals.special_tokens_in_text:
        table.add_row("special tokens in text", count(totals.special_tokens_in_text, "pair"))
    if totals.rescued:
        table.add_row("scored again in float32", count(totals.rescued, "pair"))
    table.add_row(
        "through the model",
        f"{count(totals.distinct, 'distinct pair')}, {count(totals.tokens, 'token')}",
    )
    if totals.reused:
        checked = f"; {totals.checked:,} of them were scored again and agree"
        table.add_row(
            "earlier scores used",
            count(totals.reused, "distinct pair") + (checked if totals.checked else ""),
        )
    table.add_row(
        "replicas",
        f"{totals.padding_fraction:.1%} of the computed tokens were padding; "
        f"{totals.waiting_fraction:.1%} of the time was spent waiting for parts",
    )
    skipped = totals.parts - len(prepared.todo)
    how = "resumed" if prepared.derivation is None else "not scored again; their columns changed"
    table.add_row(
        "time", f"{seconds:,.1f} s" + (f", {count(skipped, 'part')} {how}" if skipped else "")
    )
    relaxed = [
        f"{group}={action}"
        for group, action in prepared.config.preflight.checks
        if action != "refuse"
    ]
    if relaxed:
        table.add_row("not enforced", f"preflight.checks: {', '.join(relaxed)}")
    table.add_row("output", prepared.store.shown)
    console.print(table)


def print_proof(totals: Totals, store: Store, seconds: float, console: Console) -> None:
    """What `batch-reranker verify` shows."""
    table = _table("Verified")
    _add_counts(table, totals)
    table.add_row("data", _size(totals.size))
    by_listing = totals.parts - totals.opened
    table.add_row(
        "files", f"{totals.opened:,} read, {by_listing:,} checked by the store's checksum"
    )
    table.add_row("time", f"{seconds:,.1f} s")
    table.add_row("output", store.shown)
    console.print(table)


def print_evaluation(result: Evaluation, share: float, console: Console) -> None:
    """What `evaluate` shows: each measure before and after, groups, and the worst queries."""
    whole = f"{result.judged:,} judged {'query' if result.judged == 1 else 'queries'}"
    if share < 1:
        whole += f", a sample of {share:.2%} of all queries"
    if result.absent:
        whole += f"; {result.absent:,} have no candidates in the output and count as 0"
    table = Table(title=whole, title_justify="left", box=None)
    for name in ("", "queries", "first stage", "reranked", "difference", "95 % interval", "p"):
        table.add_column(name, justify="left" if not name else "right")
    for group, comparisons in {"": result.comparisons, **result.groups}.items():
        for each in comparisons:
            table.add_row(
                escape(f"{group} {each.measure}".strip()),
                f"{each.queries:,}",
                f"{each.before:.4f}",
                f"{each.after:.4f}",
                f"{each.difference:+.4f}",
                f"{each.low:+.4f} … {each.high:+.4f}" if each.low == each.low else "",
                f"{each.p:.2g}" if each.p == each.p else "",
            )
    console.print(table)
    if result.worst:
        console.print(f"queries with the largest loss of {result.comparisons[0].measure}:")
    for query, change in result.worst:
        console.print(f"  {change:+.4f}  {escape(query)}")


def _add_counts(table: Table, totals: Totals) -> None:
    table.add_row("rows", f"{totals.rows:,} in {count(totals.parts, 'part')}")
    table.add_row("pairs scored", f"{totals.scored:,}")
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in totals.quarantined.items())
    table.add_row("quarantined", f"{totals.quarantined_pairs:,} {reasons and f'({reasons})'}")
    scores = totals.scores.summary()
    if scores["count"]:
        quantiles = " / ".join(
            f"{scores[name]:.4g}" for name in ("min", "p05", "p50", "p95", "max")
        )
        table.add_row("scores", f"{quantiles} (min / 5 % / median / 95 % / max)")
        for part in scores["unlike"][:_SHOWN_PARTS]:
            table.add_row("unusual part", f"{part['part']}: median {part['median']:.4g}")


def _passed_over(counts: dict[str, int]) -> str:
    """Why files of the input are not read."""
    words = {
        "hidden": "with names that begin with _ or .",
        "not_parquet": "without a Parquet suffix",
        "link_loop": "links to a folder above them",
    }
    return "; ".join(f"{number:,} {words[reason]}" for reason, number in counts.items())


class _Facts(Table):
    """A table whose cells are text of all kinds, and no markup."""

    def add_row(self, *cells: str) -> None:  # type: ignore[override]
        """Add a row."""
        super().add_row(*map(escape, cells))


def _table(title: str) -> Table:
    table = _Facts(title=title, show_header=False, title_justify="left", box=None)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
