"""A run is repeated from its output alone."""

import pytest

from reranker_core.command.like import configuration_like
from reranker_core.config import load_config
from reranker_core.errors import ConfigError
from reranker_core.output.attempts import Recorder
from tests.outputs import Output
from tests.tables import flat, write

TEMPLATE = {"segments": ["{query}", "{passage}"], "answer_ids": {7: 1.0}}


@pytest.fixture
def output(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(4))
    found = Output(tmp_path / "in", tmp_path / "out")
    found.claim()
    return found


def record(output, configuration):
    with Recorder(output.store, 1, 0.0, configuration=configuration):
        pass


def test_the_configuration_of_the_last_attempt_is_read_back(output):
    tree = output.config.model_dump()
    tree["model"] |= {"template": TEMPLATE, "cutoff_layer": [2, 4]}
    written = load_config(None, [], base=tree)
    record(output, written.model_dump(mode="json"))
    tree = configuration_like(output.store.url, [])
    assert load_config(None, ["output.path=new"], base=tree) == written.model_copy(
        update={"output": written.output.model_copy(update={"path": "new"})}
    )


def test_without_a_new_output_the_run_is_continued_where_it_is_now(output, caplog):
    record(output, output.config.model_dump(mode="json") | {"output": {"path": "/moved"}})
    tree = configuration_like(output.store.url, [])
    assert tree["output"]["path"] == output.store.url
    assert configuration_like(output.store.url, ["output.path=x"])["output"]["path"] == "/moved"


def test_credentials_must_be_given_again(output):
    tree = output.config.model_dump(mode="json")
    tree["input"]["path"] = "s3://me:***@bucket"
    record(output, tree)
    with pytest.raises(ConfigError, match=r"credentials in input\.path were not recorded"):
        configuration_like(output.store.url, [])
    assert configuration_like(output.store.url, ["input.path=a"])


@pytest.mark.parametrize(
    ("configuration", "said"),
    [({}, "does not contain its configuration"), ({"input": {}, "new": 1}, "does not fit")],
)
def test_an_output_without_a_usable_configuration_is_refused(output, configuration, said):
    record(output, configuration)
    with pytest.raises(ConfigError, match=said):
        configuration_like(output.store.url, [])


def test_a_folder_that_is_no_output_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        configuration_like(str(tmp_path / "none"), [])


def test_derive_names_its_own_argument(output, typed):
    url = output.store.url
    record(output, {})
    code, _, told = typed("derive", url, "--to", "new")
    assert (code, "--like" in told) == (2, False)
    assert f"derive {url}: this output does not contain its configuration" in told


def test_derive_may_write_keys_and_changes_nothing_else_of_the_scores(output, typed):
    record(output, output.config.model_dump(mode="json") | {"reuse": {"keep": False}})
    url, there = output.store.url, ("--to", f"{output.store.url}-new")
    code, _, told = typed("derive", url, *there, "reuse.keep=true")
    assert (code, "has no _SUCCESS" in told) == (5, True)  # so the key was taken
    for other in ("reuse.within=true", "model.path=x"):
        code, _, told = typed("derive", url, *there, other)
        assert (code, "only reuse.keep and keys of" in told) == (2, True)


def test_verify_takes_a_folder_with_an_equals_sign_and_json_needs_a_folder(output, typed, tmp_path):
    record(output, output.config.model_dump(mode="json"))
    day = f"{output.store.url}/day=1"
    code, _, told = typed("verify", day)
    assert (code, day in told, "unknown key" in told) == (2, True, False)
    for words in (
        ("preflight", "model.path=m"),
        ("plan", "--estimate", "--like", output.store.url),
        ("evaluate", output.store.url, "--label", "x"),
    ):
        code, _, told = typed(*words, "--json", f"{tmp_path}/none/a.json")
        assert (code, "its folder does not exist" in told) == (2, True)


@pytest.mark.parametrize("folder", ["", "/", "/ranked/"])
def test_derive_writes_nothing_into_the_output_that_it_reads(output, typed, folder):
    record(output, output.config.model_dump(mode="json"))
    code, _, told = typed("derive", output.store.url, "--to", f"{output.store.url}{folder}")
    assert (code, "must be a folder outside of" in told) == (2, True)


def test_export_takes_the_configuration_from_the_output(output, typed):
    record(output, output.config.model_dump(mode="json"))
    code, _, told = typed("export", "--like", output.store.url)
    assert (code, "training.positive_score" in told, "input.path" in told) == (2, True, False)
