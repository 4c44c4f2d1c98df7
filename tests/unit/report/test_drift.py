"""Drift: honest nights are not told of, and what has changed is named."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr, wasserstein_distance

from reranker_core.config import load_config
from reranker_core.errors import ConfigError, InputError, LimitExceeded
from reranker_core.output.attempts import Recorder
from reranker_core.output.manifest import SUCCESS, conclude, recorded_manifest, verify
from reranker_core.report.assessment import assess, require_assessable
from reranker_core.report.comparing import compare
from reranker_core.report.drift import Drift
from reranker_core.report.earlier import earlier_output
from reranker_core.report.night import read_night
from reranker_core.report.outcome import remarks
from reranker_core.report.shift import shift
from reranker_core.storage.store import Store
from tests.outputs import Output, scored_part
from tests.tables import flat, nested, write

ROWS, PER_QUERY = 2000, 20


def driven(source, output, score=None, *overrides):
    """An output of `source`; `score` changes the scores of a part, which are hashes of ids."""
    made = Output(source, output, "plan.part_rows=500", *overrides)
    made.claim()
    for part in made.plan.parts:
        noise = 0.0
        if score is not None:
            plain = scored_part(part, made.plan.schema).score.astype(np.float64)
            noise = score(part, plain) - plain
        made.commit(part, noise=noise)
    conclude(made.store, made.run, made.config, {})
    return made


def drift(one, other, sample=2_000_000):
    manifests = tuple(recorded_manifest(each.store) for each in (one, other))
    return compare(one.store, other.store, (one.run, other.run), manifests, sample)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    for number in range(4):
        shard = flat(
            ROWS, PER_QUERY, number * ROWS, lang=["en"] * (ROWS // 2) + ["de"] * (ROWS // 2)
        )
        write(folder / "in" / f"s{number}.parquet", shard)
    return driven(folder / "in", folder / "out")


def again(first, tmp_path, score=None):
    return driven(first.config.input.path, tmp_path / "again", score)


def test_equal_outputs_do_not_differ(first, tmp_path):
    found = drift(first, again(first, tmp_path))
    assert (found.distance, found.rank_correlation, found.overlap) == (0, 1, 1)
    assert (found.gone, found.new, found.changed, found.movers) == (0, 0, 0, [])
    assert (found.common, found.queries, found.sampled) == (4 * ROWS, 400, 1.0)
    assert found.remarks() == found.settings == found.mixes == []


def test_noise_of_the_arithmetic_is_no_drift(first, tmp_path):
    rng = np.random.default_rng(0)
    found = drift(first, again(first, tmp_path, lambda _, s: s + rng.normal(0, 2e-3, len(s))))
    assert found.distance < 0.001
    assert found.changed == 0
    assert found.remarks() == []


def test_another_scale_is_a_shift(first, tmp_path):
    found = drift(first, again(first, tmp_path, lambda _, s: 1 / (1 + np.exp(5 - s))))
    assert found.is_shifted
    assert found.distance > 0.3
    assert found.rank_correlation == pytest.approx(1, abs=1e-3)
    assert "scores shifted by" in found.remarks()[0]


def test_a_shuffled_shard_is_named_by_its_order(first, tmp_path):
    rng = np.random.default_rng(0)

    def shuffle(part, scores):
        return rng.permutation(scores) if part.shard_name == "s2.parquet" else scores

    found = drift(first, again(first, tmp_path, shuffle))
    assert list(found.odd_shards) == ["s2"]
    assert found.odd_shards["s2"] < 0.2
    assert found.rank_correlation == pytest.approx(0.75, abs=0.05)
    assert not found.is_shifted or found.distance < 0.02
    assert "order changed in shard s2" in found.remarks()


def test_small_shards_whose_candidates_are_nearly_tied_are_not_odd(tmp_path):
    for number in range(60):  # three queries each, of two candidates
        write(tmp_path / f"in/s{number}.parquet", flat(6, 2, number * 6))
    rng = np.random.default_rng(0)
    nights = [
        driven(tmp_path / "in", tmp_path / name, lambda _, s: 5 + rng.normal(0, 1e-3, len(s)))
        for name in "ab"
    ]
    found = drift(*nights)
    assert (found.queries, found.odd_shards, found.is_shifted) == (180, {}, False)


def test_a_small_shard_whose_order_is_reversed_is_named(tmp_path):
    for number in range(20):
        write(tmp_path / f"in/s{number}.parquet", flat(60, 20, number * 60))

    def reverse(part, scores):
        return -scores if part.shard_name == "s7.parquet" else scores

    nights = [
        driven(tmp_path / "in", tmp_path / "a"),
        driven(tmp_path / "in", tmp_path / "b", reverse),
    ]
    assert list(drift(*nights).odd_shards) == ["s7"]


def test_new_queries_with_scores_of_the_same_kind_are_no_drift(first, tmp_path):
    for number in range(4):
        write(
            tmp_path / "in" / f"t{number}.parquet", flat(ROWS, PER_QUERY, 100_000 + number * ROWS)
        )
    found = drift(first, driven(tmp_path / "in", tmp_path / "out"))
    assert (found.gone, found.new, found.common, found.rank_correlation) == (1, 1, 0, None)
    assert not found.is_shifted
    assert found.settings == [
        "column lang: string before, not set now",
        "shards: 8 new, removed or changed",
    ]


def test_another_mix_of_languages_is_named(first, tmp_path):
    for number in range(4):
        lang = ["en"] * 200 + ["de"] * (ROWS - 200)
        write(
            tmp_path / "in" / f"s{number}.parquet", flat(ROWS, PER_QUERY, number * ROWS, lang=lang)
        )
    found = drift(first, driven(tmp_path / "in", tmp_path / "out"))
    assert found.mixes == ["lang: 50.0% of the queries have the value de before, 90.0% now"]


def test_another_checkpoint_under_the_same_name_is_named(first, tmp_path):
    other = again(first, tmp_path, lambda _, scores: np.tanh(scores - 5))
    runs = [
        {**each.run, "fingerprint": {**each.run["fingerprint"], "model": {"weights": digest}}}
        for each, digest in ((first, "1a2b"), (other, "3c4d"))
    ]
    manifests = tuple(recorded_manifest(each.store) for each in (first, other))
    found = compare(first.store, other.store, tuple(runs), manifests)
    shifted, checkpoint = found.remarks()
    assert shifted.startswith("scores shifted by")
    assert checkpoint == "another checkpoint than before (its weights differ)"
    assert "model.path (weights): different content (1a2b before, 3c4d now)" in found.settings


def test_a_sample_takes_the_same_queries_of_both_outputs(first, tmp_path):
    found = drift(first, again(first, tmp_path), sample=ROWS)
    assert found.sampled == 0.25
    assert 0.15 < found.common / (4 * ROWS) < 0.35
    assert (found.new, found.gone) == (0, 0)


def test_of_few_queries_with_many_candidates_pairs_are_sampled(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(6000, 1000))
    one, other = (driven(tmp_path / "in", tmp_path / name) for name in "ab")
    found = drift(one, other, sample=600)
    assert (found.by_pair, found.all_queries, found.queries) == (True, 6, 6)
    assert 300 < found.common < 1000
    assert (found.new, found.gone, found.rank_correlation, found.overlap) == (0, 0, 1, None)


def test_lengths_are_not_compared_where_only_new_pairs_were_tokenized(first, tmp_path):
    other = again(first, tmp_path)
    counts = ({"tokens": 100, "distinct_pairs": 10}, {"tokens": 200, "distinct_pairs": 10})
    before, after = (
        recorded_manifest(each.store) | given
        for each, given in zip((first, other), counts, strict=True)
    )
    runs = (first.run, other.run)
    found = compare(first.store, other.store, runs, (before, after))
    assert found.mixes == ["length: 10.0 tokens per pair before, 20.0 now"]
    found = compare(first.store, other.store, runs, (before, after | {"reuse": {"pairs": 9}}))
    assert found.mixes == []


@pytest.mark.slow
def test_measures_are_those_of_scipy(first, tmp_path):
    rng = np.random.default_rng(0)
    other = again(first, tmp_path, lambda _, s: np.round(s + rng.normal(0, 1, len(s))))
    found = drift(first, other)
    before, after = (
        pa.concat_tables(each.tables()).to_pandas().sort_values("doc_id") for each in (first, other)
    )
    low, high = np.quantile(before["score"], (0.05, 0.95))
    distance = wasserstein_distance(before["score"], after["score"]) / (high - low)
    assert found.distance == pytest.approx(distance, rel=0.02)
    both = before.merge(after, on=["query_id", "doc_id"])
    each = [spearmanr(q["score_x"], q["score_y"])[0] for _, q in both.groupby("query_id")]
    assert found.rank_correlation == pytest.approx(np.mean(each), abs=1e-5)
    top = [
        len(set(q.nlargest(10, "score_x")["doc_id"]) & set(q.nlargest(10, "score_y")["doc_id"]))
        for _, q in both.groupby("query_id")
    ]
    assert found.overlap == pytest.approx(np.mean(top) / 10, abs=0.02)  # ties
    assert found.movers[0]["before"] != found.movers[0]["after"]
    assert Drift.from_dict(found.as_dict()) == found


def test_nested_outputs_are_compared_like_flat_ones(tmp_path):
    write(tmp_path / "in" / "a.parquet", nested([5, 0, 12, 1] * 20))
    one = driven(tmp_path / "in", tmp_path / "one")
    found = drift(one, driven(tmp_path / "in", tmp_path / "two"))
    assert (found.common, found.queries, found.overlap_queries) == (360, 40, 20)
    assert (found.rank_correlation, found.distance) == (1, 0)


def test_outputs_on_an_object_store_are_found_and_compared(moto_bucket, tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(60, 20))
    folder = f"{moto_bucket}/{tmp_path.name}"
    one, two = (driven(tmp_path / "in", f"{folder}/{name}") for name in ("one", "two"))
    settings = ["input.path=x", f"output.path={two.store.url}", "model.path=m"]
    config = load_config(None, [*settings, "report.against=auto"])
    assert earlier_output(config).url == one.store.url
    found = drift(one, two)
    assert (found.common, found.rank_correlation) == (60, 1)


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_what_exchanged_queries_give(seed):
    rng = np.random.default_rng(seed)
    queries = np.repeat(np.arange(200, dtype=np.uint64), 10)
    # Scores of one query lie together: chance is larger than that of single scores.
    sides = [np.repeat(rng.normal(0, 2, 200), 10) + rng.normal(0, 0.3, 2000) for _ in range(2)]
    found = shift(*sides, queries, queries + 200)
    assert found.distance < 1.2 * found.noise
    assert found.noise > 0.05
    moved = shift(sides[0], sides[0] + 0.5, queries, queries)
    assert moved.distance == pytest.approx(0.5 / moved.span, rel=0.02)
    assert moved.distance > 3 * moved.noise


def judged(output, tmp_path, *overrides):
    """Conclude an output with these settings of `report` and `guard`."""
    settings = [f"output.path={output.store.url}", f"input.path={output.config.input.path}"]
    config = load_config(None, [*settings, "model.path=m", *overrides])
    return conclude(
        output.store,
        output.run,
        config,
        {},
        lambda facts: assess(output.store, output.run, config, facts),
    )


def test_over_a_limit_there_is_no_success_until_the_limit_is_raised(first, tmp_path):
    other = again(first, tmp_path, lambda _, s: 2 * s)
    against = f"report.against={first.store.url}"
    with pytest.raises(LimitExceeded, match=r"guard\.max_drift=0\.1 allows.*To accept"):
        judged(other, tmp_path, against, "guard.max_drift=0.1")
    assert not other.store.exists(SUCCESS)
    assert recorded_manifest(other.store)["state"] == "over_limit"
    with pytest.raises(LimitExceeded):
        verify(other.store, other.run, other.config)
    judged(other, tmp_path, against, "guard.max_drift=0.9", "guard.min_rank_correlation=0.9")
    assert other.store.exists(SUCCESS)
    assert recorded_manifest(other.store)["drift"]["against"] == first.store.url


def test_auto_takes_the_complete_sibling_that_was_begun_last_before_the_output(first, tmp_path):
    source = first.config.input.path
    days = ("monday", "tuesday", "broken", "wednesday", "thursday")
    for number, name in enumerate(days):
        output = driven(source, tmp_path / name)
        with Recorder(output.store, 1, 86_400.0 * number):
            pass
    Store(str(tmp_path / "broken")).delete(SUCCESS)
    (tmp_path / "file").write_text("x")
    for name in ("monday", "thursday"):  # finished once more, last of all
        Store(str(tmp_path / name)).delete(SUCCESS)
        Store(str(tmp_path / name)).write(SUCCESS, b"")

    def before(day):
        settings = ["input.path=x", f"output.path={tmp_path / day}", "model.path=m"]
        found = earlier_output(load_config(None, [*settings, "report.against=auto"]))
        return found and found.url

    assert before("wednesday") == str(tmp_path / "tuesday")
    assert before("tuesday") == str(tmp_path / "monday")
    assert before("monday") is None
    assert before("tomorrow") == str(tmp_path / "thursday")


def test_limits_that_could_not_be_checked_are_told(first, tmp_path):
    output = again(first, tmp_path)
    judged(output, tmp_path, "report.against=auto", "guard.max_drift=0.1")
    (told,) = remarks(read_night(output.store))
    assert told == "the limits on drift were not checked: there is no earlier output"
    write(tmp_path / "few" / "a.parquet", flat(60, 20))
    one, other = (driven(tmp_path / "few", tmp_path / "nights" / name) for name in "ab")
    against = f"report.against={one.store.url}"
    judged(other, tmp_path, against, "guard.max_drift=0.1", "guard.min_rank_correlation=0.5")
    (told,) = remarks(read_night(other.store))
    assert told.startswith("guard.max_drift was not checked: fewer than 8 queries")


def test_what_is_missing_without_a_limit_is_told_too(first, tmp_path):
    output = again(first, tmp_path)
    judged(output, tmp_path, f"report.qrels={tmp_path / 'gone'}")
    assert "cannot be read" in remarks(read_night(output.store))[0]


@pytest.mark.parametrize(
    ("override", "error", "said"),
    [
        ("report.against={}/gone", ConfigError, "there is no such folder"),
        ("report.qrels={}/gone", InputError, "cannot be read"),
        ("report.label=bm25", ConfigError, r"report\.label=bm25: .*it will have .*lang"),
        ("report.first_stage=bm25", ConfigError, r"report\.first_stage=bm25: .*lang"),
    ],
)
def test_what_will_be_missing_is_refused_before_anything_is_scored(
    first, tmp_path, override, error, said
):
    settings = ["input.path=x", f"output.path={tmp_path}/out", "model.path=m"]
    config = load_config(None, [*settings, override.format(tmp_path)])
    with pytest.raises(error, match=said):
        require_assessable(config, first.plan.schema)
    good = load_config(None, [*settings, "report.label=lang", "report.first_stage=lang.x"])
    require_assessable(good, first.plan.schema)


@pytest.mark.parametrize("against", ["gone", "self"])
def test_an_output_that_cannot_be_compared_with_is_refused(first, tmp_path, against):
    path = first.store.url if against == "self" else str(tmp_path / against)
    settings = ["input.path=x", f"output.path={first.store.url}", "model.path=m"]
    with pytest.raises(ConfigError, match=r"report\.against="):
        earlier_output(load_config(None, [*settings, f"report.against={path}"]))


def test_quality_below_the_floor_is_no_success(first, tmp_path):
    output = again(first, tmp_path)
    rows = pa.concat_tables(output.tables()).to_pandas()
    best = rows.loc[rows.groupby("query_id")["score"].idxmin()]
    lines = [f"{q} 0 {d} 1\n" for q, d in zip(best["query_id"], best["doc_id"], strict=True)]
    (tmp_path / "qrels").write_text("".join(lines))
    qrels = f"report.qrels={tmp_path / 'qrels'}"
    with pytest.raises(
        LimitExceeded, match=r"nDCG@10 is 0\.0000 over 400 judged .*min_quality=0\.3"
    ):
        judged(output, tmp_path, qrels, "guard.min_quality=0.3")
    judged(output, tmp_path, qrels)
    assert recorded_manifest(output.store)["quality"]["judged"] == 400


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["guard.max_drift=0.1"], "report.against is not"),
        (["guard.min_quality=0.1"], "neither report.qrels nor report.label"),
        (["report.qrels=a", "report.label=b"], "are both set"),
    ],
)
def test_a_limit_without_what_it_measures_is_refused(overrides, said):
    with pytest.raises(ConfigError, match=said):
        load_config(None, ["input.path=a", "output.path=b", "model.path=c", *overrides])
