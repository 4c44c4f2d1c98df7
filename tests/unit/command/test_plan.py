"""What `plan` shows, and which replicas `plan --estimate` assumes."""

import io

import pytest
from rich.console import Console

from reranker_core.command.plan import replicas_here
from reranker_core.device import processor
from reranker_core.report.speed import Replicas
from reranker_core.report.summary import print_plan
from reranker_core.score.cores import usable_cores
from tests.estimating import prepared
from tests.tables import write
from tests.texts import flat_table

CORES = usable_cores()
CPU = processor("cpu")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.device=cpu"], Replicas(1, CORES, 0.0, CPU)),
        (["model.device=cpu", "replicas.num_cpus=1"], Replicas(min(CORES, 5), 1, 0.0, CPU)),
        (["model.device=cpu", "replicas.max=1"], Replicas(1, CORES, 0.0, CPU)),
        (["model.device=cpu", "replicas.max=1000"], None),
        (["model.device=cpu", "replicas.num_cpus=5000"], None),
        (["ray.address=10.0.0.1:6379"], None),
    ],
)
def test_a_configuration_that_has_no_room_here_is_one_of_a_cluster(
    bert, tmp_path, overrides, expected
):
    write(tmp_path / "in" / "a.parquet", flat_table(50, seed=1))
    made = prepared(tmp_path, bert, "plan.part_rows=10", *overrides)
    assert replicas_here(made) == expected


def test_the_plan_names_the_columns_of_the_output(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat_table(5, seed=1))
    console = Console(file=io.StringIO(), width=200)
    print_plan(prepared(tmp_path, bert, "output.rank=true"), console)
    shown = " ".join(console.file.getvalue().split())
    assert " columns added score, status, rank output " in shown


def test_the_plan_names_the_output_that_the_run_is_compared_with(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat_table(5, seed=1))
    console = Console(file=io.StringIO(), width=200)
    print_plan(prepared(tmp_path, bert, "report.against=auto"), console)
    shown = " ".join(console.file.getvalue().split())
    assert " compared with nothing: no earlier output model " in shown
