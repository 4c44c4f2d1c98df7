"""Records and reports hold no credentials, and URLs without any stay as they are."""

import pickle
import traceback

import pytest

from reranker_core.errors import PreflightRefused, StoreUnavailable, brief
from reranker_core.errors.redaction import hidden_keys, without_credentials
from reranker_core.input.query_cuts import DividedQuery
from reranker_core.storage import errors
from reranker_core.storage.store import Store


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://AKIA:s3cr/et+x=@bucket/in", "s3://AKIA:***@bucket/in"),
        ("https://hf_token@huggingface.co/a", "https://***@huggingface.co/a"),
        ("https://u:p@host:8443/a", "https://u:***@host:8443/a"),
        ("https://h/a?X-Amz-Signature=abc&x=1", "https://h/a?X-Amz-Signature=***&x=1"),
        (
            "abfs://c@a.dfs.core.windows.net/in?sig=abc",
            "abfs://c@a.dfs.core.windows.net/in?sig=***",
        ),
        ("zip://a.parquet::ftp://u:p@h/b.zip", "zip://a.parquet::ftp://u:***@h/b.zip"),
    ],
)
def test_secrets_in_urls_are_hidden(url, shown):
    assert without_credentials({"input": {"path": [url, "x"]}}) == {"input": {"path": [shown, "x"]}}
    assert hidden_keys({"input": {"path": [shown]}, "n": {"a": 1}}) == ["input.path"]


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a:b@c/part-?.parquet",
        "abfs://container@account.dfs.core.windows.net/x",
        "http://minio:9000/bucket/a@b",
        "/data/a@b:c?key",
        "token: {query}",
        "host:6379",
    ],
)
def test_what_holds_no_secret_stays(text):
    assert without_credentials(text) == text


def test_no_error_tells_credentials_however_it_is_shown():
    error = PreflightRefused("model.path=s3://me:secret@bucket/m: refused", {"checks": []})
    copied = pickle.loads(pickle.dumps(error))
    shown = "".join(traceback.format_exception(copied))
    assert "s3://me:***@bucket/m" in str(copied)
    assert "secret" not in shown + str(DividedQuery("a query of ftp://me:secret@host/a"))
    assert "secret" not in brief(OSError("ftp://me:secret@host/a cannot be opened"))


def test_retries_tell_no_credentials(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(errors, "_TOLD_AFTER", 0.0)
    store = Store("memory://me:secret@host/out")

    def ask() -> None:
        raise ConnectionError("ftp://me:secret@host is gone")

    with pytest.raises(StoreUnavailable) as caught:
        errors.patiently(ask, f"{store.url}/x", patience=2)
    assert store.shown == "memory://me:***@host/out"
    assert "retrying" in caplog.text
    assert "secret" not in caplog.text + str(caught.value)
