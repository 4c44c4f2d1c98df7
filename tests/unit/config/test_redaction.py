"""Records and reports hold no credentials, and URLs without any stay as they are."""

import pytest

from reranker_core.config.redaction import hidden_keys, without_credentials


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
