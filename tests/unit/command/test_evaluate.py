"""`evaluate` finds ids and scores of an output by itself, and says what it needs."""

import json

import pytest
from click.testing import CliRunner

from reranker_core.command.evaluate import evaluate
from reranker_core.errors import ConfigError
from tests.outputs import Output
from tests.tables import flat, write


@pytest.fixture
def output(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(22))
    Output(tmp_path / "in", tmp_path / "out").drive()
    return tmp_path / "out"


def run(*arguments):
    done = CliRunner().invoke(evaluate, [str(each) for each in arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_an_output_is_compared_with_judgements_by_its_own_column_names(output, tmp_path):
    (row,) = flat(22).select(["query_id", "doc_id"]).to_pylist()[:1]
    (tmp_path / "qrels").write_text(f"{row['query_id']} 0 {row['doc_id']} 1\n")
    printed = run(output, "--qrels", tmp_path / "qrels", "--json", tmp_path / "found.json")
    assert "1 judged query\n" in printed
    # One query has no interval, and JSON no NaN.
    found = json.loads((tmp_path / "found.json").read_text(), parse_constant=pytest.fail)
    assert found["comparisons"][0]["p"] is None
    assert [each["measure"] for each in found["comparisons"]] == ["nDCG@10", "RR@10", "AP", "R@100"]
    assert found["comparisons"][1]["before"] == 1  # the first row of its query


@pytest.mark.parametrize("given", [(), ("--qrels", "a", "--label", "b")])
def test_judgements_come_from_one_place(given, output):
    with pytest.raises(ConfigError, match="either --qrels FILE or --label COLUMN"):
        run(output, *given)
