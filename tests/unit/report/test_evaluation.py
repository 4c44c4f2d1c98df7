"""Measures equal pytrec_eval's; files of judgements are read as they are meant, or refused."""

import gzip
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from reranker_core.errors import ConfigError, Incomplete, InputError
from reranker_core.report.candidates import Query, read_queries
from reranker_core.report.evaluation import evaluate, judgements_of
from reranker_core.report.judgements import read_judgements
from reranker_core.report.scored_pairs import Columns
from reranker_core.storage.store import Store

MEASURES = ("nDCG@10", "RR", "AP", "R@5")
RUNS = {"before": "first", "after": "scores"}
TREC = {"nDCG@10": "ndcg_cut_10", "RR": "recip_rank", "AP": "map", "R@5": "recall_5"}


def random_queries(rng, count, odd=False):
    """`odd`: documents twice, queries without candidates or judgements, negative judgements."""
    queries, judgements = {}, {}
    for number in range(count):
        size = int(rng.integers(1, 30))
        documents = [f"d{each}" for each in rng.choice(60, size, replace=odd)]
        scores = rng.normal(size=size).astype(np.float32)
        scores[rng.random(size) < 0.2] = scores[0]  # ties
        first = rng.normal(size=size).astype(np.float32)
        queries[f"q{number}"] = Query(documents, scores.tolist(), first.tolist())
        judged = rng.choice(60, 8, replace=False)
        grades = [1, *rng.integers(0, 4, 7).tolist()]
        judgements[f"q{number}"] = {f"d{d}": int(g) for d, g in zip(judged, grades, strict=True)}
        if odd:
            judgements[f"q{number}"] |= {f"d{d}": -2 for d in rng.choice(60, 3)}
            for each in (queries, judgements):
                if rng.random() < 0.1:
                    del each[f"q{number}"]
    return queries, judgements


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_pytrec_eval(seed, odd):
    queries, judgements = random_queries(np.random.default_rng(seed), 40, odd)
    oracle = pytrec_eval.RelevanceEvaluator(judgements, set(TREC.values()))
    found = evaluate(queries, judgements, MEASURES)
    for which, field in RUNS.items():
        run = {
            name: dict(zip(query.documents[::-1], getattr(query, field)[::-1], strict=True))
            for name, query in queries.items()
        }
        values = oracle.evaluate(run)
        for comparison in found.comparisons:
            measure = TREC[comparison.measure]
            each = [values[name][measure] if name in values else 0.0 for name in judgements]
            assert getattr(comparison, which) == pytest.approx(np.mean(each), abs=1e-12)


def test_the_interval_covers_the_difference_and_the_worst_queries_are_named():
    queries, judgements = random_queries(np.random.default_rng(0), 40)
    found = evaluate(queries, judgements, MEASURES, worst=3)
    for comparison in found.comparisons:
        assert comparison.low < comparison.difference < comparison.high
        assert 0 < comparison.p <= 1
    assert len(found.worst) == 3
    assert found.worst[0][1] <= found.worst[1][1] <= found.worst[2][1] < 0
    alone = {name: queries[name] for name, _ in found.worst[:1]}
    only = evaluate(alone, {name: judgements[name] for name in alone}, MEASURES[:1])
    assert only.comparisons[0].difference == pytest.approx(found.worst[0][1])
    assert math.isnan(only.comparisons[0].p)


def test_a_judged_query_without_candidates_counts_as_zero_and_is_counted():
    queries = {"q": Query(["a", "b"], [2.0, 1.0], [0.0, -1.0])}
    found = evaluate(queries, {"q": {"a": 1}, "gone": {"a": 1}}, ["nDCG@10"])
    assert (found.judged, found.absent, found.comparisons[0].after) == (2, 1, 0.5)


@pytest.mark.parametrize("lowest", [-9.0, 0.0, 1e8, -1e8, -3e38])
def test_a_candidate_without_a_score_comes_last(lowest):
    for without in "abc":  # trec_eval puts equal scores in the order of ids
        scores = dict.fromkeys("abc", lowest) | {without: np.nan}
        queries = {"q": Query(list(scores), list(scores.values()), [0.0, -1.0, -2.0])}
        found = evaluate(queries, {"q": {without: 1}}, ["RR"])
        assert found.comparisons[0].before == 1 / (1 + "abc".index(without))
        assert found.comparisons[0].after == 1 / 3


def test_candidates_without_a_score_keep_their_order():
    queries = {"q": Query(["a", "b", "c"], [-1e9, np.nan, np.nan], [0.0, -1.0, -2.0])}
    assert evaluate(queries, {"q": {"b": 1}}, ["RR"]).comparisons[0].after == 1 / 2


def test_groups_are_compared_by_themselves():
    queries = {
        "good": Query(["a", "b"], [1.0, 2.0], [0.0, -1.0], group="en"),
        "bad": Query(["a", "b"], [2.0, 1.0], [-1.0, 0.0], group="de"),
    }
    found = evaluate(queries, {"good": {"b": 1}, "bad": {"b": 1}}, ["RR"])
    assert {name: (c.before, c.after) for name, (c,) in found.groups.items()} == {
        "de": (1.0, 0.5),
        "en": (0.5, 1.0),
    }


@pytest.mark.parametrize(
    ("judgements", "measures", "said"),
    [({"other": {"a": 1}}, ["RR"], "none of the 1 judged"), ({"q": {"a": 1}}, ["NDGC"], "NDGC")],
)
def test_what_cannot_be_compared_is_refused(judgements, measures, said):
    with pytest.raises(ConfigError, match=said):
        evaluate({"q": Query(["a"], [1.0], [0.0])}, judgements, measures)


TEXTS = {
    "trec": "q1 0 d1 2\nq1 0 d2 0\n\n7 0 d3 1\n",
    "beir": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n7\td3\t1\n",
}


@pytest.mark.parametrize("kind", [*TEXTS, "gzip", "parquet"])
def test_judgements_of_all_kinds_of_file_are_the_same(kind, tmp_path):
    path = tmp_path / "qrels"
    if kind == "parquet":
        columns = {"query_id": ["q1", "q1", "7"], "doc_id": ["d1", "d2", "d3"]}
        pq.write_table(pa.table(columns | {"relevance": pa.array([2, 0, 1], pa.int8())}), path)
    else:
        text = TEXTS.get(kind, TEXTS["trec"]).encode()
        path.write_bytes(gzip.compress(text) if kind == "gzip" else text)
    assert read_judgements(str(path)) == {"q1": {"d1": 2, "d2": 0}, "7": {"d3": 1}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"q1 0 d1\nq1 d2\n", "line 1: relevance is 'd1'"),
        (b"q1 0 d1 1\nq1 d2\n", "line 2: has 2 fields"),
        (b"q1 0 d1 0.5\n", "relevance is '0.5'; expected a whole number"),
        (b"", "contains no judgements"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"PAR1 and no more", "not a readable Parquet file"),
    ],
)
def test_a_file_that_holds_no_judgements_is_refused(content, said, tmp_path):
    (tmp_path / "qrels").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_judgements(str(tmp_path / "qrels"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["query_id", "query", "doc_id", "passage"], "missing columns relevance; the file has"),
        (["query_id", "doc_id", "label"], "missing columns relevance.* Rename the columns"),
        (["query-id", "corpus-id", "score"], "missing columns query_id, doc_id;"),
        (["query_id", "relevance"], "missing columns doc_id;"),
    ],
)
def test_a_parquet_file_without_judgements_is_refused(columns, said, tmp_path):
    pq.write_table(pa.table({name: ["1"] for name in columns}), tmp_path / "qrels")
    with pytest.raises(InputError, match=said):
        read_judgements(str(tmp_path / "qrels"))


def test_each_row_of_a_parquet_file_with_nothing_but_ids_is_relevant(tmp_path):
    pq.write_table(pa.table({"doc_id": [1, 2], "query_id": ["a", "a"]}), tmp_path / "qrels")
    assert read_judgements(str(tmp_path / "qrels")) == {"a": {"1": 1, "2": 1}}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_judgements(str(tmp_path / "none"))


FLAT = pa.table(
    {
        "query_id": pa.array([1, 1, 2], pa.int64()),
        "doc_id": ["a", "b", "c"],
        "score": pa.array([0.5, None, 2.0], pa.float32()),
        "bm25": [3.0, 4.0, 5.0],
        "clicked": [True, None, False],
        "lang": ["en", "en", "de"],
    }
)
NESTED = pa.table(
    {
        "query_id": ["1", "2"],
        "candidates": [
            [
                {"doc_id": "a", "bm25": 3.0, "clicked": 1},
                {"doc_id": "b", "bm25": 4.0, "clicked": None},
            ],
            [{"doc_id": "c", "bm25": 5.0, "clicked": 0}],
        ],
        "score": pa.array([[0.5, None], [2.0]], pa.list_(pa.float32())),
        "lang": ["en", "de"],
    }
)


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_flat_and_nested_outputs_give_the_same_queries(layout, tmp_path):
    table, prefix = (FLAT, "") if layout == "flat" else (NESTED, "candidates.")
    pq.write_table(table, tmp_path / "in-0-0123456789abcdef.parquet")
    columns = Columns(
        "query_id", prefix + "doc_id", "score", prefix + "bm25", prefix + "clicked", "lang"
    )
    found, share = read_queries(Store(str(tmp_path)), columns, None, 0)
    assert share == 1
    assert [math.isnan(score) for score in found["1"].scores] == [False, True]
    assert (found["1"].documents, found["1"].first) == (["a", "b"], [3.0, 4.0])
    assert (found["1"].labels, found["1"].group, found["2"].scores) == ([1, 0], "en", [2.0])
    assert judgements_of(found) == {"1": {"a": 1, "b": 0}}
    plain, _ = read_queries(
        Store(str(tmp_path)), Columns("query_id", prefix + "doc_id", "score"), {"1"}, 0
    )
    assert list(plain) == ["1"]
    assert plain["1"].first == [0.0, -1.0]  # the order of the rows


def test_no_more_queries_are_kept_than_asked_for_and_always_the_same(tmp_path):
    for shard in range(4):
        ids = [f"q{row % 50}" for row in range(200)]  # every query in every file
        table = pa.table({"query_id": ids, "doc_id": ids, "score": [1.0] * 200})
        pq.write_table(table, tmp_path / f"s{shard}-0-0123456789abcdef.parquet")
    columns = Columns("query_id", "doc_id", "score")
    found, share = read_queries(Store(str(tmp_path)), columns, None, 20)
    again, _ = read_queries(Store(str(tmp_path)), columns, None, 20)
    assert 0.2 < share < 0.7
    assert len(found) == 20
    assert found == again
    assert all(len(query.documents) == 16 for query in found.values())


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    pq.write_table(FLAT, tmp_path / "in-0-0123456789abcdef.parquet")
    with pytest.raises(ConfigError, match=r"no column relevance; it has query_id, doc_id, score"):
        read_queries(
            Store(str(tmp_path)), Columns("query_id", "doc_id", "score", label="relevance"), None, 0
        )


def nested(**columns):
    return pa.table({"query_id": ["1"], "doc_id": [["a", "b"]], "score": [[0.5, 1.0]], **columns})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1, 0, 1], "column clicks, query 1: has 3 values for 2 candidates"),
        ([0.5, 1.0], "--label clicks: the column has the value 0.5"),
        (["yes", "no"], "--label clicks: the column has values of type VARCHAR"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, said, tmp_path):
    pq.write_table(nested(clicks=[labels]), tmp_path / "in-0-0123456789abcdef.parquet")
    columns = Columns("query_id", "doc_id", "score", label="clicks")
    with pytest.raises(ConfigError, match=said):
        read_queries(Store(str(tmp_path)), columns, None, 0)


def test_columns_that_differ_in_case_and_names_of_duckdb_are_told_apart(tmp_path):
    table = FLAT.append_column("Score", pa.array([9.0, 9.0, 9.0]))
    table = table.append_column("filename", pa.array(["x"] * 3)).select(
        ["Score", "filename", *FLAT.column_names]
    )
    pq.write_table(table, tmp_path / "in-0-0123456789abcdef.parquet")
    found, _ = read_queries(Store(str(tmp_path)), Columns("query_id", "doc_id", "score"), None, 0)
    assert found["2"].scores == [2.0]
    by_file = Columns("query_id", "doc_id", "score", group="filename")
    assert read_queries(Store(str(tmp_path)), by_file, None, 0)[0]["2"].group == "x"


@pytest.mark.parametrize(
    ("damage", "said"),
    [("missing", "contains no data files"), ("cut", r"abcdef\.parquet: cannot be read")],
)
def test_data_files_that_are_missing_or_damaged_are_named(damage, said, tmp_path):
    path = tmp_path / "in-0-0123456789abcdef.parquet"
    pq.write_table(FLAT, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.unlink()
    with pytest.raises(Incomplete, match=said):
        read_queries(Store(str(tmp_path)), Columns("query_id", "doc_id", "score"), None, 0)
