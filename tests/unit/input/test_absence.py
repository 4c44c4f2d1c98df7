"""Each cause of "no shards there" has words of its own, and the absolute path."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reranker_core.convert.rows import rows_of
from reranker_core.errors import InputError
from reranker_core.input.plan import make_plan
from reranker_core.input.shards import list_shards
from reranker_core.storage.database import database
from tests.tables import config, flat, write


def refusal(source: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        list_shards(config(source, "elsewhere"))
    return str(caught.value)


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize("way", ["", "/b/c", "/b/*.parquet", "/**/*.parquet", "/x.parquet"])
def test_a_path_that_does_not_exist(tmp_path: Path, way: str):
    told = refusal(f"{tmp_path}/absent{way}")
    assert f"{tmp_path}/absent" in told
    assert "does not exist; the nearest folder that exists is " + str(tmp_path) in told


def test_a_relative_path_is_told_as_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}/absent/in does not exist" in refusal("absent/in")


def test_a_file_is_no_folder(tmp_path: Path):
    fill(tmp_path, "a.parquet")
    assert "does not exist" in refusal(tmp_path / "a.parquet" / "b.parquet")
    told = refusal(f"{tmp_path}/a.parquet/*")
    assert f"{tmp_path}/a.parquet is a file; expected a folder before *" in told


def test_a_folder_of_a_model(tmp_path: Path):
    fill(tmp_path, "config.json", "model.safetensors")
    told = refusal(tmp_path)
    assert "If you mean the model, set model.path to its folder" in told
    assert "onvert" not in told


@pytest.mark.parametrize("way", ["", "/"])
def test_an_empty_folder(tmp_path: Path, way: str):
    assert f"{tmp_path} is an empty folder" in refusal(f"{tmp_path}{way}")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.jsonl", "b.jsonl", "c.jsonl"], "contains 3 .jsonl files, but no Parquet file"),
        (
            ["data-00000.arrow", "state.json"],
            "contains 1 .arrow file, 1 .json file, but no Parquet",
        ),
        (["day/a.csv"], "contains 1 .csv file, but no Parquet file"),
        (["part-00000"], "contains 1 file without a suffix, but no Parquet file"),
        (["a.jsonl", "_SUCCESS"], "also 1 name that begins with _ or ."),
    ],
)
def test_a_folder_of_other_files(tmp_path: Path, names: list[str], told: str):
    fill(tmp_path, *names)
    assert told in refusal(tmp_path)
    if "/" not in names[0]:
        assert told.removeprefix("contains") in refusal(f"{tmp_path}/*")


def test_the_command_that_converts_is_told(tmp_path: Path):
    fill(tmp_path, "a.jsonl", "b.jsonl")
    command = f"batch-reranker convert {tmp_path}/*.jsonl --to FOLDER"
    assert f"Convert first: {command}" in refusal(tmp_path)


RUNS = {
    "bm25.run": "q1 Q0 d1 1 9.5 tag\nq1 Q0 d2 2 8.5 tag\n",
    "run": "q1\tQ0\td1\t1\t-9.5e-1\ttag\n",
    "run.msmarco.test": "\ufeffq1 Q0 d1 1 9 tag\r\n",
    "run.txt": "q1 Q0 d1 1 9.5 tag\n",
    "judged": "q1 0 d1 2\n",
    "qrels.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    "T_predictions.json": '{"default": {"test": {"q1": {"d1": 1.5}}}}',
    "p.json": '{"mteb_model_meta": {"name": "x"}, "default": {"test": {"q1": {"d1": 1.5}}}}',
}


@pytest.mark.parametrize(("name", "content"), RUNS.items(), ids=RUNS)
def test_a_run_is_known_by_its_content(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content, newline="")
    command = f"convert --run {tmp_path}/{name} --corpus FILE --queries FILE"
    assert command in refusal(tmp_path)
    with pytest.raises(InputError, match=re.escape(command)):
        make_plan(config(tmp_path / name, "out"))
    with database("convert") as connection, pytest.raises(InputError, match="--run"):
        list(rows_of(connection, [str(tmp_path / name)]))


def test_a_beir_folder_is_converted_as_one(tmp_path: Path):
    fill(tmp_path / "a b", "corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
    told = refusal(tmp_path)
    assert f"convert --beir '{tmp_path}/a b' --split test --to FOLDER" in told
    assert "*" not in told


def test_descriptions_of_a_saved_data_set_are_not_converted(tmp_path: Path):
    fill(tmp_path, "data-00000-of-00001.arrow", "state.json", "dataset_info.json")
    told = refusal(tmp_path)
    assert "*.arrow --to FOLDER" in told
    assert "*.json" not in told


def test_all_was_passed_over(tmp_path: Path):
    fill(tmp_path, "_SUCCESS", "_temporary/0/a.parquet", ".hidden.parquet")
    told = refusal(tmp_path)
    assert "were skipped: 3 names that begin with _ or ., such as" in told
    assert f"{tmp_path}/_temporary" in told


def test_a_glob_that_matches_nothing(tmp_path: Path):
    fill(tmp_path, "a.parquet", "b.parquet", "c.parquet", "d.parquet")
    told = refusal(f"{tmp_path}/x*.parquet")
    assert f"nothing matches x*.parquet in {tmp_path}, which contains a.parquet, b.parquet" in told
    assert "and 1 more" in told
    assert "is empty" in refusal(_made(tmp_path / "empty") + "/*.parquet")


def test_braces_are_told_to_be_no_signs(tmp_path: Path):
    fill(tmp_path, "a.parquet", "b.parquet")
    for way in ("{a,b}.parquet", "{a,b}*.parquet"):
        assert "Braces are not glob patterns" in refusal(f"{tmp_path}/{way}")


def test_percent_signs_are_told_to_stand_as_they_are(tmp_path: Path):
    fill(tmp_path, "my data/a.parquet")
    told = refusal(f"file://{tmp_path}/my%20data")
    assert f"{tmp_path}/my data exists: input.path is not percent-decoded" in told


@pytest.mark.parametrize("entry", ["", " "])
def test_an_empty_entry_is_refused(entry: str):
    with pytest.raises(Exception, match=r"input\.path"):
        list_shards(config(entry, "elsewhere"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter; those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without permissions")
def test_a_folder_without_permission_is_told_as_such(open_folder: Path):
    names = ["in/a.parquet", "in/closed/b.parquet", "in/_closed/c.parquet"]
    fill(open_folder, *names)
    for name in ("in/closed", "in/_closed"):
        (open_folder / name).chmod(0o000)
    os.seteuid(65534)
    try:
        for entry in ("in", "in/closed", "in/closed/b.parquet", "in/*/*.parquet"):
            told = refusal(open_folder / entry)
            assert f"permission denied: {open_folder}/in/closed" in told
            assert "or leave it out with a pattern" in told
        assert len(list_shards(config(f"{open_folder}/in/*.parquet", "elsewhere"))) == 1
    finally:
        os.seteuid(0)


def _made(folder: Path) -> str:
    folder.mkdir()
    return str(folder)


def test_two_stars_beside_other_signs_are_told(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2))
    write(tmp_path / "x" / "b.parquet", flat(2))
    told = refusal(tmp_path / "**.parquet")
    assert "write **/*.parquet" in told
