"""What a run will take, before it starts."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from reranker_core.command.plan import plan
from reranker_core.device import processor
from reranker_core.encode.part import encode_part
from reranker_core.input.reading import read_parts
from reranker_core.output.identity import identity
from reranker_core.report.estimate import estimate
from reranker_core.report.speed import Speed, speed_of
from reranker_core.report.summary import print_estimate
from reranker_core.report.workload import Workload, workload
from reranker_core.score.cores import usable_cores
from tests.estimating import attempt, prepared
from tests.tables import nested, write
from tests.texts import flat_table


def tokens_of(made):
    """All tokens that the run will compute."""
    total = 0
    for part in made.todo:
        ((_, table),) = read_parts([part], made.plan.schema.columns)
        encoded = encode_part(table, made.plan.schema, made.pair_format, made.config)
        total += int(encoded.sequences.tokens.lengths.sum())
    return total


def test_a_small_input_is_counted_exactly(bert, tmp_path):
    table = flat_table(400, seed=1)
    write(tmp_path / "in" / "a.parquet", pa.concat_tables([table.slice(0, 100), table]))
    made = prepared(tmp_path, bert, "plan.part_rows=250")
    found = workload(made)
    assert (found.parts, found.pairs, found.done, found.sampled) == (2, 500, 0, 2)
    assert found.tokens == pytest.approx(tokens_of(made), rel=1e-9)
    assert found.low <= found.tokens <= found.high
    assert found.distinct < 1
    assert found.saved == {"duplicates": pytest.approx(found.tokens * (1 / found.distinct - 1))}
    assert len(found.examples) == 3
    assert all("[SEP]" in text for text in found.examples)
    assert found.schema.names == [*made.plan.schema.carried, "score", "status"]


def test_a_single_part_has_an_interval_and_three_examples(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat_table(3000, seed=1))
    made = prepared(tmp_path, bert)
    found = workload(made)
    truth = tokens_of(made)
    assert found.low < truth < found.high < 1.2 * truth
    assert len(set(found.examples)) == 3


def test_new_pairs_that_stand_together_are_within_the_interval(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat_table(4000, seed=1))
    made = prepared(tmp_path, bert, "plan.part_rows=100")
    new = set(range(35, 40))  # of 40 parts: twelve are sampled

    class Earlier:
        check = 0.0

        def known_shares(self, groups):
            return [0.0 if part in new else 1.0 for part in sampled]

    random = np.random.default_rng(0)
    sampled = sorted(random.choice(40, 12, replace=False))
    found = workload(replace(made, reuse=Earlier()))
    truth = tokens_of(made) * 5 / 40
    assert found.low <= truth <= found.high
    new.clear()
    assert workload(replace(made, reuse=Earlier())).tokens == 0
    known = workload(replace(made, reuse=Earlier()))
    assert known.high > truth
    assert known.saved["earlier scores"] == pytest.approx(tokens_of(made), rel=0.1)


@pytest.mark.slow
def test_a_large_input_is_sampled_and_the_interval_covers_it(bert, tmp_path):
    hits = 0
    for seed in range(6):
        write(tmp_path / str(seed) / "in" / "a.parquet", flat_table(4000, seed=seed))
        made = prepared(tmp_path / str(seed), bert, "plan.part_rows=100")
        found = workload(made)
        truth = tokens_of(made)
        assert found.sampled == 12
        assert found.tokens == pytest.approx(truth, rel=0.05)
        hits += found.low <= truth <= found.high
    assert hits >= 5


def test_nested_input_and_finished_outputs_have_an_estimate(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", nested([3, 0, 2, 5]))
    found = workload(prepared(tmp_path, bert, "output.rank=true"))
    assert found.tokens > 0
    assert found.schema.field("rank").type == pa.list_(pa.int32())
    write(tmp_path / "none" / "in" / "a.parquet", nested([1]).slice(0, 0))
    made = prepared(tmp_path / "none", bert)
    assert workload(made).tokens == 0
    assert speed_of(made, workload(made), None) is None
    console = Console(file=io.StringIO())
    print_estimate(workload(made), None, None, console)
    assert " ".join(console.file.getvalue().split()) == "Estimate to score 0 pairs in 0 parts"


def test_pairs_without_a_text_are_no_duplicates(bert, tmp_path):
    table = flat_table(40, seed=1)
    column = table.schema.get_field_index("passage")
    for name, left in (("some", 4), ("none", 0)):
        texts = table["passage"].to_pylist()[:left] + [None] * (40 - left)
        found = table.set_column(column, "passage", pa.array(texts, pa.string()))
        write(tmp_path / name / "in" / "a.parquet", found)
        assert workload(prepared(tmp_path / name, bert)).distinct == 1


WORK = Workload(10, 1000, 0, 5, 3.6e6, 3.0e6, 4.2e6, 1.0, 0.0, (), None, ())


def test_time_and_price_follow_from_tokens_and_speed():
    speed = Speed(1000.0, 36.0, 1, 4.0, 0.5, "here")
    found = estimate(WORK, speed, None, 3.0)
    assert (found.hours, found.replicas) == (pytest.approx(1.01), 1)
    assert found.low < found.hours < found.high
    assert found.gpu_hours == pytest.approx(0.505)
    assert found.price == pytest.approx(3.03)
    saved = estimate(replace(WORK, saved={"duplicates": 3.6e6}), speed, 2, None).saved
    assert saved == {"duplicates": pytest.approx(0.5)}
    many = estimate(WORK, speed, 64, None)
    assert (many.replicas, many.price) == (10, None)  # as many as there are parts
    assert many.hours == pytest.approx(0.11)


def test_the_command_prints_it_and_writes_it_without_texts(bert, tmp_path, capsys):
    write(tmp_path / "in" / "a.parquet", flat_table(50, seed=1))
    made = prepared(tmp_path, bert)
    attempt(made, "monday", 40_000, processor=processor("cpu"), cpus=float(usable_cores()))
    settings = [f"input.path={tmp_path / 'in'}", f"output.path={made.store.url}"]
    settings += [f"model.path={bert}", "plan.price_per_hour=2", "model.device=cpu"]
    path = tmp_path / "estimate.json"
    plan.main([*settings, "--estimate", "--json", str(path)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "400 tokens/s per replica" in printed
    assert "as the model sees it" in printed
    content = json.loads(path.read_text())
    assert content["work"]["pairs"] == 50
    assert content["estimate"]["price"] > 0
    assert content["estimate"]["replicas"] == 1
    assert "[SEP]" not in path.read_text()


def test_the_price_is_no_part_of_a_runs_identity(bert, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat_table(5, seed=1))
    one, two = prepared(tmp_path, bert), prepared(tmp_path, bert, "plan.price_per_hour=2")
    runs = [identity(each.fingerprint, each.plan, each.config) for each in (one, two)]
    assert runs[0] == runs[1]
    assert runs[0]["plan"] == {"part_rows": 8192, "part_bytes": 268_435_456}
