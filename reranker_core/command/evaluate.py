"""`batch-reranker evaluate`."""

from __future__ import annotations

import logging

import click

from reranker_core.command.console import make_console
from reranker_core.command.json_file import require_folder, write_json
from reranker_core.command.subcommand import Subcommand
from reranker_core.config.working_copy import refuse_in_copy
from reranker_core.errors import ConfigError

log = logging.getLogger(__name__)


@click.command("evaluate", cls=Subcommand, codes=(0, 1, 2, 5))
@click.argument("output", metavar="OUTPUT", type=click.Path())
@click.option(
    "--qrels",
    metavar="FILE",
    type=click.Path(),
    help="Judgements: TREC qrels, BEIR's TSV, or Parquet.",
)
@click.option(
    "--label",
    metavar="COLUMN",
    help="Column of the output with the judgements, instead of --qrels.",
)
@click.option(
    "--first-stage",
    metavar="COLUMN",
    help="Score of the first stage, a column of the output. Default: the order of the rows.",
)
@click.option(
    "--by",
    metavar="COLUMN",
    help="Also report the measures separately for each value of this column.",
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="Measure of ir-measures; may be repeated. Default: nDCG@10, RR@10, AP, R@100.",
)
@click.option(
    "--queries",
    default=100_000,
    show_default=True,
    type=click.IntRange(min=0),
    help="With --label: maximum number of queries to evaluate, chosen by a hash. 0: all.",
)
@click.option(
    "--worst",
    default=5,
    show_default=True,
    type=click.IntRange(min=0),
    help="Number of queries to list, largest loss first.",
)
@click.option(
    "--json",
    "report_path",
    metavar="FILE",
    type=click.Path(),
    help="Also write the result as JSON.",
)
def evaluate(
    output: str,
    qrels: str | None,
    label: str | None,
    first_stage: str | None,
    by: str | None,
    measures: tuple[str, ...],
    queries: int,
    worst: int,
    report_path: str | None,
) -> None:
    """Measure how well an output ranks, before and after reranking.

    OUTPUT is the output folder of a run.
    """
    require_folder(report_path)
    named = {"--qrels": qrels, "--json": report_path}
    refuse_in_copy(
        [(output, output)]
        + [(f"{option} {path}", path) for option, path in named.items() if path is not None]
    )
    # Late, so that --help and wrong options answer at once.
    from reranker_core.output.identity import require_recorded
    from reranker_core.output.manifest import SUCCESS
    from reranker_core.report.candidates import read_queries
    from reranker_core.report.evaluation import MEASURES, judgements_of
    from reranker_core.report.evaluation import evaluate as compare
    from reranker_core.report.judgements import read_judgements
    from reranker_core.report.quality import finite
    from reranker_core.report.scored_pairs import Columns
    from reranker_core.report.summary import print_evaluation
    from reranker_core.storage.store import Store

    if (qrels is None) == (label is None):
        raise ConfigError("evaluate: set either --qrels FILE or --label COLUMN")
    store = Store(output)
    columns = Columns.of_run(
        require_recorded(store), first_stage=first_stage, label=label, group=by
    )
    if not store.exists(SUCCESS):
        log.warning("%s has no %s: scores may be missing, or a limit is exceeded", output, SUCCESS)
    judged = read_judgements(qrels) if qrels else None
    found, share = read_queries(store, columns, judged, 0 if judged else queries)
    result = compare(found, judged or judgements_of(found), measures or MEASURES, worst)
    print_evaluation(result, share, make_console())
    if report_path:
        content = {"share_of_queries": share, **finite(result.as_dict())}
        write_json(report_path, content)
