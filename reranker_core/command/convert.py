"""`batch-reranker convert`."""

from __future__ import annotations

import click
from rich.markup import escape

from reranker_core.command.console import make_console
from reranker_core.command.subcommand import Subcommand
from reranker_core.config.working_copy import refuse_in_copy
from reranker_core.errors import ConfigError, count
from reranker_core.errors.redaction import without_credentials
from reranker_core.stopping import stop_on_signals


@click.command("convert", cls=Subcommand, codes=(0, 1, 2, 5))
@click.argument("rows", nargs=-1, metavar="[FILE]...", type=click.Path())
@click.option(
    "--to",
    "output",
    required=True,
    metavar="FOLDER",
    type=click.Path(),
    help="New folder for the shards.",
)
@click.option(
    "--run",
    metavar="FILE",
    type=click.Path(),
    help="TREC run, MTEB predictions (.json), or TREC qrels.",
)
@click.option(
    "--corpus", metavar="FILE", type=click.Path(), help="Passages: .jsonl, .tsv, .csv or .parquet."
)
@click.option("--queries", metavar="FILE", type=click.Path(), help="Queries, in the same formats.")
@click.option(
    "--beir", metavar="FOLDER", type=click.Path(), help="BEIR data set: its corpus and queries."
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="With --beir and without --run: name of the qrels file that gives the pairs.",
)
@click.option(
    "--snapshot",
    type=int,
    metavar="N",
    help="Version of a Delta table, or snapshot id of an Iceberg table. Default: the newest.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the N best candidates per query.",
)
def convert(
    rows: tuple[str, ...],
    output: str,
    run: str | None,
    corpus: str | None,
    queries: str | None,
    beir: str | None,
    split: str,
    snapshot: int | None,
    top: int | None,
) -> None:
    """Convert other formats to Parquet shards.

    FILE has one pair per row, or one query per row with lists of candidates: JSON Lines, CSV, TSV,
    Arrow (Feather) or ORC. It can also be the folder of a Delta or Iceberg table. Its columns keep
    their names.

    With --beir, the pairs come from --run; without --run, they come from the qrels of the BEIR data
    set. With --run, --corpus and --queries, they are the candidates of a first stage with their
    texts. The columns are then query_id, query, doc_id and passage, which `batch-reranker run`
    reads by default. These ids stay text.
    """
    stop_on_signals()
    named = {"--run": run, "--corpus": corpus, "--queries": queries, "--beir": beir, "--to": output}
    refuse_in_copy(
        [(path, path) for path in rows]
        + [(f"{option} {path}", path) for option, path in named.items() if path is not None]
    )
    # Late, so that --help and wrong options answer at once.
    from reranker_core.convert.beir import beir_files
    from reranker_core.convert.pairs import joined
    from reranker_core.convert.rows import rows_of
    from reranker_core.convert.shards import write_shards
    from reranker_core.storage.database import database

    if bool(rows) == bool(run or beir or corpus or queries):
        raise ConfigError(
            "convert: give either files with rows, or --beir, or --run with --corpus and --queries"
        )
    if beir:
        ours = beir_files(beir, split)
        corpus, queries, run = corpus or ours[0], queries or ours[1], run or ours[2]
    with database("convert") as connection:
        if rows:
            done = write_shards(rows_of(connection, rows, snapshot), output)
        elif run and corpus and queries:
            done = write_shards([joined(connection, corpus, queries, run, top)], output)
        else:
            raise ConfigError("convert: --run needs --corpus and --queries, or --beir")
    make_console().print(
        f"{count(done.rows, 'row')} in {count(done.shards, 'shard')}. Next: batch-reranker plan "
        f"input.path={escape(without_credentials(output))} output.path=… model.path=…",
        highlight=False,
    )
