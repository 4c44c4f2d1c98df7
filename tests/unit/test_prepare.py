"""What is known, and can be wrong, before Ray is asked for anything."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tokenizers.pre_tokenizers import PreTokenizer

from reranker_core.errors import ConfigError, InputError, PreflightRefused, StoreRefused
from reranker_core.models import encoder
from reranker_core.prepare import prepare
from reranker_core.report.summary import print_plan
from tests import damage
from tests.begun import begin, settings, two_shards
from tests.tables import config, flat, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return two_shards(tmp_path)


def test_a_fresh_run_has_all_to_do(folder: Path, bert: Path):
    found = prepare(settings(folder, bert))
    assert found.todo == found.plan.parts
    assert len(found.todo) == 4
    assert found.before is None


def test_a_tokenizer_with_a_part_in_python_is_refused(
    folder: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    class Letters:
        def pre_tokenize(self, text: Any) -> None:
            text.split(lambda _, part: list(part))

    def with_letters(*arguments: Any) -> Any:
        found = pair_format(*arguments)
        found.tokenizer.backend.pre_tokenizer = PreTokenizer.custom(Letters())
        return found

    pair_format = encoder.pair_format
    monkeypatch.setattr(encoder, "pair_format", with_letters)
    with pytest.raises(PreflightRefused, match="tokenizer/sendable"):
        prepare(settings(folder, bert))


def test_a_column_that_differs_from_an_added_one_in_case_only(folder: Path, bert: Path):
    # DuckDB would read the input's Score where a user asks for score.
    write(folder / "in" / "a.parquet", flat(10, Score=[1] * 10))
    for overrides in (["output.columns.score=relevance"], ["output.passthrough=[]"]):
        prepare(settings(folder, bert, *overrides))
    with pytest.raises(InputError, match="'Score' and the column 'score' that the job adds"):
        prepare(settings(folder, bert))


def test_an_output_that_has_begun_with_such_columns_is_resumed(
    folder: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    write(folder / "in" / "a.parquet", flat(10, Score=[1] * 10))
    with monkeypatch.context() as patch:
        patch.setattr("reranker_core.prepare.refuse_case_twins", lambda *_: None)
        begin(prepare(settings(folder, bert)))
    assert len(prepare(settings(folder, bert)).todo) == 4


@pytest.mark.parametrize("name", ["query", "passage"])
def test_a_text_to_pass_through_needs_the_key_for_texts(
    folder: Path, bert: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    listed = f"output.passthrough=[{name}]"
    with pytest.raises(ConfigError, match=f"'{name}' contains the texts .* Set output.text=true"):
        prepare(settings(folder, bert, listed))
    prepare(settings(folder, bert, listed, "output.text=true"))
    with monkeypatch.context() as patch:  # as an earlier version began it
        patch.setattr("reranker_core.prepare.refuse_texts_left_out", lambda *_: None)
        begin(prepare(settings(folder, bert, listed)))
    assert len(prepare(settings(folder, bert, listed)).todo) == 4


def test_the_plan_says_what_was_passed_over(folder: Path, bert: Path):
    (folder / "in" / "_SUCCESS").touch()
    (folder / "in" / "notes.md").touch()
    console = Console(file=io.StringIO(), width=200)
    print_plan(prepare(settings(folder, bert)), console)
    shown = console.file.getvalue()
    assert "1 with names that begin with _ or .; 1 without a Parquet suffix" in shown


def test_preparing_writes_nothing(folder: Path, bert: Path):
    prepare(settings(folder, bert))
    assert not (folder / "out").exists()


def test_the_dtype_of_a_fresh_run_is_open_until_a_device_is_known(folder: Path, bert: Path):
    found = prepare(settings(folder, bert))
    assert found.config.model.dtype == found.fingerprint["dtype"] == "auto"


def test_a_refused_checkpoint_is_refused_here(folder: Path, bert: Path, tmp_path: Path):
    model = damage.with_config(bert, tmp_path / "m", architectures=["BertModel"])
    with pytest.raises(PreflightRefused, match="has_a_score"):
        prepare(settings(folder, model))


@pytest.mark.parametrize("model", ["./absent", "/absent/model"])
def test_a_model_that_is_not_there_is_named(folder: Path, model: str):
    with pytest.raises(ConfigError, match="absent"):
        prepare(settings(folder, Path(model)))


def test_a_model_folder_without_config_is_named(folder: Path, tmp_path: Path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"neither config\.json nor weights; it contains notes"):
        prepare(settings(folder, tmp_path / "m"))


def test_a_damaged_config_of_the_model_is_named(folder: Path, bert: Path, tmp_path: Path):
    model = damage.with_file(bert, tmp_path / "m", "config.json", b'{"architectures": [')
    with pytest.raises(PreflightRefused, match=r"config\.json cannot be read"):
        prepare(settings(folder, model))


def test_a_config_of_the_model_that_is_no_object_is_named(folder: Path, bert: Path, tmp_path: Path):
    model = damage.with_file(bert, tmp_path / "m", "config.json", b"[]")
    with pytest.raises(PreflightRefused, match=r"config\.json"):
        prepare(settings(folder, model))


def test_a_length_beyond_the_model_is_named(folder: Path, bert: Path):
    with pytest.raises(ConfigError, match=r"model\.max_length=131 exceeds the 130"):
        prepare(settings(folder, bert, "model.max_length=131"))


def test_input_that_is_not_there_is_named_before_the_model_is_looked_at(folder: Path):
    missing = config(folder / "absent", folder / "out")
    with pytest.raises(InputError, match="no shards there"):
        prepare(missing)


def test_relative_folders_are_absolute_for_workers(
    folder: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    (folder / "model").symlink_to(bert)
    prepared = prepare(config("in", "out", model=Path("model")))
    assert prepared.config.output.path == str(folder / "out")
    assert prepared.config.model.path == str(bert.resolve())
    assert all(Path(part.shard).is_absolute() for part in prepared.todo)


def test_an_output_that_is_a_file_is_a_configuration_error(folder: Path, bert: Path):
    (folder / "out").write_text("")
    with pytest.raises(ConfigError, match=r"output\.path"):
        prepare(settings(folder, bert))


@pytest.mark.parametrize("url", ["foo://bucket/in", "oss://bucket/in"])
def test_a_store_that_cannot_be_opened_is_a_configuration_error(bert: Path, url: str):
    with pytest.raises(ConfigError, match=r"cannot be opened|pip install ossfs"):
        prepare(config(url, "out", model=bert))


@pytest.mark.parametrize("key", ["input.path", "output.path"])
def test_the_memory_of_this_process_is_no_store_of_a_job(folder: Path, bert: Path, key: str):
    paths = {"input.path": str(folder / "in"), "output.path": str(folder / "out")}
    paths[key] = "memory://bucket/x"
    with pytest.raises(ConfigError, match=rf"{key}=memory://bucket/x: .*workers do not see"):
        prepare(config(paths["input.path"], paths["output.path"], model=bert))


def test_a_presigned_url_is_refused_without_its_signature(bert: Path):
    with pytest.raises(ConfigError, match="presigned") as caught:
        prepare(config("https://127.0.0.1/x.parquet?X-Amz-Signature=abc", "out", model=bert))
    assert "abc" not in str(caught.value)


def test_instructions_of_rows_need_a_place_in_the_prompt(tmp_path: Path, bert: Path):
    write(tmp_path / "in" / "a.parquet", flat(4, how=["strict"] * 4))
    settings = config(
        tmp_path / "in",
        tmp_path / "out",
        "input.columns.instruction=how",
        "preflight.checks.meaning=off",
        model=bert,
    )
    with pytest.raises(ConfigError, match="does not use instructions"):
        prepare(settings)


UNWRITABLE = {
    "below_proc": "/proc/out",
    "in_sys": "/sys/kernel/out",
    "a_file": "{tmp}/file",
    "below_a_file": "{tmp}/file/out",
    "below_a_link_to_nothing": "{tmp}/dangling/out",
    "a_name_too_long": "{tmp}/" + "x" * 300,
}


@pytest.mark.parametrize("output", UNWRITABLE.values(), ids=UNWRITABLE)
def test_an_output_that_cannot_be_written_is_told_before_the_model_is_looked_at(
    folder: Path, output: str
):
    (folder / "file").write_text("x")
    (folder / "dangling").symlink_to(folder / "nothing")
    before = sorted(folder.iterdir())
    path = output.format(tmp=folder)
    with pytest.raises(StoreRefused, match=rf"^output\.path={path} cannot be written: ") as caught:
        prepare(config(folder / "in", path))
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(folder: Path):
    (folder / "closed").mkdir(mode=0o500)
    for path in ("closed", "closed/out"):
        with pytest.raises(StoreRefused, match=r"cannot be written: permission denied"):
            prepare(config(folder / "in", folder / path))


def test_a_look_at_the_plan_makes_no_folder(folder: Path, bert: Path):
    prepare(settings(folder, bert, f"output.path={folder}/new/out"))
    assert sorted(path.name for path in folder.iterdir()) == ["in"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("address", [[], ["ray.address=local"]])
def test_a_device_that_is_not_there_is_told(folder: Path, bert: Path, address: list[str]):
    with pytest.raises(
        ConfigError, match=r"model.device=cuda: torch .* finds no (CUDA device|GPU)"
    ):
        prepare(settings(folder, bert, "model.device=cuda", *address))


def test_gpus_that_are_not_there_are_told(folder: Path, bert: Path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    asked = config(folder / "in", folder / "out", "replicas.num_gpus=1", model=bert)
    with pytest.raises(ConfigError, match=r"replicas\.num_gpus=1, but torch finds no GPU on "):
        prepare(asked)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert prepare(asked).todo


def test_an_input_without_rows_is_told(tmp_path: Path, bert: Path, caplog):
    source = write(tmp_path / "in/a.parquet", flat(0))
    assert not prepare(config(source, tmp_path / "out", model=bert)).todo
    assert "the input has no rows" in caplog.text


def test_the_devices_of_a_cluster_are_not_known(folder: Path, bert: Path, monkeypatch):
    found = prepare(settings(folder, bert, "model.device=cuda", "ray.address=10.0.0.1:6379"))
    assert found.device_is_unknown
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert prepare(settings(folder, bert, "model.device=cuda")).device_is_unknown
    assert not prepare(settings(folder, bert)).device_is_unknown
