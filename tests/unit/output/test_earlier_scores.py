"""Which outputs `reuse.from` takes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reranker_core.errors import ConfigError, Incomplete
from reranker_core.output.earlier_scores import EarlierScores, earlier_scores
from reranker_core.output.manifest import SUCCESS
from reranker_core.reuse.keys import from_binary, from_bytes, keys_name, today
from tests.outputs import Output
from tests.tables import flat, write


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def done(folder: Path, name: str, *overrides: str, dtype: str = "float32") -> Output:
    if not (folder / "in").exists():
        write(folder / "in/a.parquet", flat(10))
    output = Output(folder / "in", folder / name, *overrides)
    output.run["fingerprint"]["dtype"] = dtype
    output.drive()
    return output


def chosen(folder: Path, source: str, *overrides: str, dtype: str = "float32") -> Any:
    new = Output(folder / "in", folder / "new", f"reuse.from={source}", *overrides)
    scoring = {**new.run["fingerprint"], "dtype": dtype}
    return earlier_scores(new.config, scoring, new.store)


def test_the_scores_of_all_outputs_are_found_by_the_texts(tmp_path: Path):
    one = done(tmp_path, "one")
    write(tmp_path / "in/a.parquet", flat(10, first=10))
    two = done(tmp_path, "two")
    found, dtype = chosen(tmp_path, f"[{tmp_path}/one, {tmp_path}/two]")
    assert (found.pairs, dtype) == (20, "float32")
    reuse = found.open()
    for output in (one, two):
        for part in output.plan.parts:
            keys = from_bytes(output.store.read(keys_name(part.name)))
            known, again = reuse.known(from_binary(keys["hash"]))
            assert known.scores[:, 0].tolist() == keys["score"].to_pylist()
            assert again.sum() == 1


def test_each_night_compares_other_pairs_and_a_resumed_one_the_same(tmp_path: Path):
    write(tmp_path / "in/a.parquet", flat(2000))
    one = done(tmp_path, "one", "plan.part_rows=2000")
    (part,) = one.plan.parts
    hashes = from_binary(from_bytes(one.store.read(keys_name(part.name)))["hash"])

    def compared(output: str, source: str, share: float) -> set[int]:
        settings = f"reuse.from={tmp_path / source}", f"reuse.check={share}"
        new = Output(tmp_path / "in", tmp_path / output, *settings)
        found = earlier_scores(new.config, new.run["fingerprint"], new.store)
        assert found is not None
        return set(np.flatnonzero(found[0].open().known(hashes)[1]).tolist())

    first = compared("new", "one", 0.1)
    assert 130 < len(first) < 270
    assert compared("new", "one", 0.1) == first
    done(tmp_path, "two", "plan.part_rows=2000")
    for other in (compared("newer", "one", 0.1), compared("new", "two", 0.1)):
        assert 130 < len(other) < 270
        assert len(other & first) < 100
    nights = [compared(f"night-{number}", "one", 1e-9) for number in range(5)]
    assert [len(each) for each in nights] == [1] * 5
    assert len(set().union(*nights)) > 1
    assert len(compared("new", "one", 1)) == 2000
    assert not compared("new", "one", 0)


def test_nothing_is_chosen_without_the_key(tmp_path: Path):
    output = done(tmp_path, "one")
    assert earlier_scores(output.config, output.run["fingerprint"], output.store) is None


@pytest.mark.parametrize("missing", [SUCCESS, "_manifest.json", "_run.json"])
def test_an_output_that_is_not_complete_is_refused(tmp_path: Path, missing: str):
    done(tmp_path, "one").store.delete(missing)
    with pytest.raises(ConfigError, match="not a complete output") as refused:
        chosen(tmp_path, str(tmp_path / "one"))
    assert refused.value.exit_code == 2
    assert chosen(tmp_path, "auto") is None


def test_a_folder_that_is_not_there_is_named_as_such(tmp_path: Path):
    done(tmp_path, "one")
    with pytest.raises(ConfigError, match=r"reuse\.from=.*gone: there is no such folder"):
        chosen(tmp_path, str(tmp_path / "gone"))


def test_the_output_itself_is_refused(tmp_path: Path):
    done(tmp_path, "new")
    with pytest.raises(ConfigError, match=r"is output\.path itself"):
        chosen(tmp_path, str(tmp_path / "new"))


def test_other_scores_are_refused_with_what_differs(tmp_path: Path):
    done(tmp_path, "one", dtype="bfloat16")
    with pytest.raises(ConfigError, match=r"model\.dtype: bfloat16 before, float32 now"):
        chosen(tmp_path, str(tmp_path / "one"))
    with pytest.raises(ConfigError, match=r"output\.chunks: false before, true now"):
        chosen(tmp_path, str(tmp_path / "one"), "output.chunks=true", dtype="bfloat16")


def test_two_outputs_must_have_the_same_number_format(tmp_path: Path):
    done(tmp_path, "one")
    done(tmp_path, "two", dtype="bfloat16")
    with pytest.raises(ConfigError, match=r"model\.dtype"):
        chosen(tmp_path, f"[{tmp_path}/one, {tmp_path}/two]", dtype="auto")


def test_the_number_format_of_the_output_is_taken_if_any_will_do(tmp_path: Path):
    done(tmp_path, "one", dtype="bfloat16")
    _, dtype = chosen(tmp_path, "auto", dtype="auto")
    assert dtype == "bfloat16"


def test_normalization_does_not_count(tmp_path: Path):
    done(tmp_path, "one", "output.normalize=sigmoid")
    assert chosen(tmp_path, str(tmp_path / "one")) is not None


def test_auto_is_the_newest_one_with_the_same_scores(tmp_path: Path):
    done(tmp_path, "one")
    done(tmp_path, "two")
    done(tmp_path, "three", dtype="bfloat16")
    found, _ = chosen(tmp_path, "auto")
    assert [source.url for source in found.sources] == [str(tmp_path / "two")]


def test_auto_prefers_an_output_with_keys(tmp_path: Path):
    done(tmp_path, "one")
    done(tmp_path, "two", "reuse.keep=false")
    found, _ = chosen(tmp_path, "auto")
    assert [source.url for source in found.sources] == [str(tmp_path / "one")]


def test_an_output_without_keys_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    done(tmp_path, "one", "reuse.keep=false")
    found, _ = chosen(tmp_path, str(tmp_path / "one"))
    assert found.pairs == 0
    assert "has no keys" in caplog.text
    assert found.open().find is not None


def test_damaged_keys_are_refused_and_missing_ones_are_not_used(tmp_path: Path):
    output = done(tmp_path, "one")
    found, _ = chosen(tmp_path, str(tmp_path / "one"))
    name = keys_name(output.plan.parts[0].name)
    data = output.store.read(name)
    output.store.write(name, data[:9] + bytes([data[9] ^ 1]) + data[10:])
    with pytest.raises(Incomplete, match=name):
        found.open()
    output.store.delete(name)
    assert sum(table.num_rows for table in found.tables()) == 6


def test_an_output_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    done(tmp_path, "one")
    found, _ = chosen(tmp_path, str(tmp_path / "one"))
    write(tmp_path / "in/a.parquet", flat(10, first=5))
    done(tmp_path, "one", "input.changed=rescore")
    with pytest.raises(Incomplete, match="has changed since this run began"):
        found.open()


def test_scores_that_are_too_old_are_not_used(tmp_path: Path):
    output = done(tmp_path, "one")
    part = output.plan.parts[0]
    hashes = from_binary(from_bytes(output.store.read(keys_name(part.name)))["hash"])
    for age, count in ((0, 4), (1, 4), (None, 4)):
        given = [] if age is None else [f"reuse.max_age_days={age}"]
        found, _ = chosen(tmp_path, str(tmp_path / "one"), *given)
        assert len(found.open().known(hashes)[0].index) == count
        assert found.known_shares([hashes, hashes[:0]]) == [1.0, 0.0]
    old = EarlierScores(**{**vars(found), "oldest": today() + 1})
    assert len(old.open().known(hashes)[0].index) == 0
    assert old.known_shares([hashes]) == [0.0]


@pytest.mark.parametrize(
    "given",
    ["{folder}", "{folder}/o*", "{folder}/absent", "{folder}/in/a.parquet", "{folder}/in", "s3:/x"],
)
def test_what_is_no_output_is_refused(tmp_path: Path, given: str):
    done(tmp_path, "one")
    with pytest.raises(ConfigError) as refused:
        chosen(tmp_path, given.format(folder=tmp_path))
    assert refused.value.exit_code == 2
    assert given.format(folder=tmp_path) in str(refused.value)


@pytest.mark.parametrize(
    "given", ["{}/new/", "{}/new//", "{}/in/../new", "file://{}/new", "{}/link"]
)
def test_the_output_itself_is_refused_however_it_is_written(tmp_path: Path, given: str):
    done(tmp_path, "new")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(ConfigError, match=r"is output\.path itself"):
        chosen(tmp_path, given.format(tmp_path))


def test_an_output_that_is_named_twice_counts_once(tmp_path: Path):
    done(tmp_path, "one")
    found, _ = chosen(tmp_path, f"[auto, {tmp_path}/one, {tmp_path}/one/]")
    assert [source.url for source in found.sources] == [str(tmp_path / "one")]


def test_auto_passes_over_what_cannot_be_used(tmp_path: Path):
    done(tmp_path, "one")
    unfinished = Output(tmp_path / "in", tmp_path / "two")
    unfinished.claim()
    damaged = done(tmp_path, "three")
    damaged.store.write("_run.json", b"{")
    done(tmp_path, "four").store.write("_manifest.json", b"")
    (tmp_path / "five").mkdir()
    found, _ = chosen(tmp_path, "auto")
    assert [source.url for source in found.sources] == [str(tmp_path / "one")]
    with pytest.raises(ConfigError, match=r"three/_run\.json is damaged") as refused:
        chosen(tmp_path, str(tmp_path / "three"))
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("there", [True, False])
def test_auto_without_an_output_beside_it_scores_all(tmp_path: Path, there: bool):
    if there:
        done(tmp_path, "one", dtype="bfloat16")
    else:
        write(tmp_path / "in/a.parquet", flat(10))
    assert chosen(tmp_path, "auto") is None


def test_outputs_on_an_object_store_are_found(tmp_path: Path, moto_bucket: str):
    write(tmp_path / "in/a.parquet", flat(10))
    parent = f"{moto_bucket}/{tmp_path.name}"
    Output(tmp_path / "in", f"{parent}/one").drive()
    for output, given, count in (
        (f"{parent}/two/", f"{parent}/one/", 1),
        (f"{parent}/two", "auto", 1),
        (f"{parent}/two/three", "auto", 0),
        (moto_bucket, "auto", 0),
        (f"{moto_bucket}/", "auto", 0),
    ):
        new = Output(tmp_path / "in", output, f"reuse.from={given}")
        found = earlier_scores(new.config, new.run["fingerprint"], new.store)
        assert len(found[0].sources if found else ()) == count


def test_lost_data_files_do_not_count_and_lost_receipts_lose_their_keys(tmp_path: Path):
    output = done(tmp_path, "one")
    output.store.delete(*(f"{part.name}.parquet" for part in output.plan.parts))
    found, _ = chosen(tmp_path, str(tmp_path / "one"))
    assert (found.pairs, sum(table.num_rows for table in found.tables())) == (10, 10)
    output.store.delete(f"_receipts/{output.plan.parts[0].name}.json")
    found, _ = chosen(tmp_path, str(tmp_path / "one"))
    assert sum(table.num_rows for table in found.tables()) == found.pairs == 6


def test_quarantined_pairs_have_no_keys(tmp_path: Path):
    write(tmp_path / "in/a.parquet", flat(10))
    output = Output(tmp_path / "in", tmp_path / "one", "guard.max_quarantined_fraction=1")
    output.claim()
    output.commit_all(bad=3)
    output.drive()
    found, _ = chosen(tmp_path, str(tmp_path / "one"))
    assert found.pairs == 7


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("float32", -5.0, 3.0, 0.08),
        ("float32", -11.0, -10.999999, 1.1e-4),  # nearly equal scores differ by rounding
        ("bfloat16", -5.0, 5.0, 0.3),
        ("bfloat16", 20.0, 20.5, 0.205),
        ("float32", 0.0, 0.0, 1e-5),
    ],
)
def test_scores_that_are_computed_again_may_differ_by_little(
    tmp_path: Path, dtype: str, low: float, high: float, expected: float
):
    output = done(tmp_path, "one", dtype=dtype)
    manifest = json.loads(output.store.read("_manifest.json"))
    manifest["scores"] |= {"min": low, "max": high}
    output.store.write("_manifest.json", json.dumps(manifest).encode())
    found, _ = chosen(tmp_path, str(tmp_path / "one"), dtype=dtype)
    assert found.tolerance == pytest.approx(expected)
