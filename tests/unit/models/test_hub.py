"""A hub, as a server here: busy for a while, for ever, or with an answer that does not pass."""

import http.server
import json
import logging
import threading

import pytest
from huggingface_hub import constants

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, Incomplete
from reranker_core.models import hub
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.files import check_files

SHA = "a" * 40
CONFIG = b'{"architectures": ["BertForSequenceClassification"]}'


class Hub(http.server.ThreadingHTTPServer):
    """Gives `answers` first: a status and headers each, 0 for a connection that it breaks off."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = [], 0
        self.files = ["config.json"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "/org/reranker" not in self.path:  # what else the client asks of a hub
            return self.answer(404, b"")
        self.server.asked += 1
        if self.server.answers:
            status, headers = self.server.answers.pop(0)
            if not status:
                self.connection.close()
                return
            return self.answer(status, b"", **headers)
        if "/resolve/" in self.path:
            return self.answer(200, CONFIG, **{"ETag": '"1"', "X-Repo-Commit": SHA})
        files = [
            {"type": "file", "path": name, "size": len(CONFIG), "oid": "1"}
            for name in self.server.files
        ]
        if "/tree/" in self.path:
            return self.answer(200, json.dumps(files).encode())
        siblings = [{"rfilename": name} for name in self.server.files]
        model = {"id": "org/reranker", "sha": SHA, "siblings": siblings}
        self.answer(200, json.dumps(model).encode())

    do_HEAD = do_GET

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    with Hub() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{running.server_port}"
        files = here + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", here)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(hub, "_FIRST_DELAY", 0.01)
        yield running
        running.shutdown()


def fetch(**more):
    return open_checkpoint(ModelConfig(path="org/reranker", **more))


BUSY = {
    "throttled": (429, {"Retry_After": "1"}),
    "throttled until a time": (429, {"Retry_After": "Thu, 01 Jan 2026 00:00:00 GMT"}),
    "throttled without a word": (429, {}),
    "unwell": (503, {}),
    "gateway": (504, {}),
}


@pytest.mark.parametrize("answer", BUSY.values(), ids=BUSY)
def test_a_hub_that_is_busy_is_asked_again(server, answer):
    server.answers = [answer] * 2
    assert fetch().architecture == "BertForSequenceClassification"
    assert not server.answers


def test_the_wait_is_as_long_as_the_hub_asks_for_and_told_of(server, monkeypatch, caplog):
    slept = []
    monkeypatch.setattr(hub.time, "sleep", slept.append)
    server.answers = [(429, {"Retry_After": "7"})]
    with caplog.at_level(logging.WARNING):
        fetch()
    assert slept == [7.0]
    assert "limits the rate of requests (HTTP 429); the request is repeated" in caplog.text


@pytest.mark.parametrize("headers", [{"Retry_After": "3600"}, {}])
def test_a_hub_that_stays_busy_is_incomplete(server, monkeypatch, headers):
    if not headers:
        monkeypatch.setattr(hub, "PATIENCE", 0.3)
    server.answers = [(429, headers)] * 1000
    with pytest.raises(Incomplete, match=r"org/reranker.*limits the rate.*again later") as caught:
        fetch()
    assert caught.value.exit_code == 5
    assert "no such" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "told", "remedy"),
    [
        (["pytorch_model.bin"], "not fetched (pytorch_model.bin)", "model.allow_pickle=true"),
        (["onnx/model.onnx"], "an ONNX export (onnx/model.onnx)", "the original checkpoint"),
        (["model-Q4.gguf"], "a GGUF file, which llama.cpp reads (model-Q4.gguf)", "the original"),
        (["tf_model.h5"], "TensorFlow weights (tf_model.h5)", "from_tf=True"),
    ],
)
def test_what_a_repository_has_instead_of_weights_is_told(server, files, told, remedy):
    server.files += files
    model = ModelConfig(path="org/reranker")
    [check] = [c for c in check_files(open_checkpoint(model), model) if c.name == "weights_present"]
    assert told in check.measured
    assert remedy in check.remedy


def test_pickles_of_modules_and_adapters_are_fetched_where_they_are_allowed(server):
    pickles = ["2_Dense/pytorch_model.bin", "adapter_model.bin", "pytorch_model.bin"]
    server.files += pickles
    assert fetch().unfetched_pickles == pickles
    found = fetch(allow_pickle=True)
    assert found.unfetched_pickles == []
    assert all((found.folder / name).exists() for name in pickles)


REFUSED = {
    "absent": (401, {"X_Error_Code": "RepoNotFound"}, r"no such model, or it is private.*HF_TOKEN"),
    "not found": (404, {"X_Error_Code": "RepoNotFound"}, r"has no such model.*HTTP 404"),
    "gated": (403, {"X_Error_Code": "GatedRepo"}, r"does not permit.*HTTP 403.*HF_TOKEN"),
    "forbidden": (403, {}, r"does not permit.*HTTP 403"),
    "revision": (404, {"X_Error_Code": "RevisionNotFound"}, r"model.revision=v9.*no such revision"),
    "odd": (418, {}, r"answered HTTP 418"),
}


@pytest.mark.parametrize(("status", "headers", "expected"), REFUSED.values(), ids=REFUSED)
def test_an_answer_that_does_not_pass_ends_at_once(server, monkeypatch, status, headers, expected):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.answers = [(status, headers)] * 5
    with pytest.raises(ConfigError, match=r"model\.path=org/reranker.*" + expected) as caught:
        fetch(revision="v9")
    assert server.asked <= 2
    assert "hf_secret" not in str(caught.value)


def test_a_hub_out_of_reach_ends_at_once(server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://user:secret@127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"the hub 127\.0\.0\.1 cannot be reached") as caught:
        fetch()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("demo/modle", "/demo contains model, other. If you mean a folder, correct the path."),
        ("modle", " contains model2. If you mean a folder, correct the path."),
        ("./demo/modle", "/demo contains model, other. Set it to a folder"),
        ("org/reranker", ", and the hub 127.0.0.1 cannot be reached"),
        ("reranker", ", and the hub 127.0.0.1 cannot be reached"),
    ],
)
def test_folders_with_a_similar_name_are_named_before_the_hub(
    server, monkeypatch, tmp_path, path, first
):
    for folder in ("demo/model", "demo/other", "model2"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConfigError) as caught:
        open_checkpoint(ModelConfig(path=path))
    assert str(caught.value).startswith(
        f"model.path={path}: there is no such folder on this machine"
    )
    assert first in str(caught.value)


def test_where_the_hub_must_not_be_asked_that_is_said(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set"):
        fetch()
    assert server.asked == 0


def test_what_is_no_hub_id_is_no_folder_either(server):
    with pytest.raises(
        ConfigError, match="no such folder on this machine, and this is not a hub id"
    ):
        open_checkpoint(ModelConfig(path="a/b/c/d"))


def test_a_commit_that_is_in_the_cache_needs_no_hub(server):
    folder = fetch().folder
    asked = server.asked
    assert fetch(revision=SHA).folder == folder
    assert server.asked == asked


def test_a_commit_that_is_in_the_cache_in_part_is_completed(server):
    folder = fetch().folder
    (folder / "config.json").unlink()
    assert fetch(revision=SHA).architecture == "BertForSequenceClassification"
