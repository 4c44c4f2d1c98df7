"""Where requests to S3 go: what users set in the environment or in a profile is what counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reranker_core.errors import StoreUnavailable
from reranker_core.storage.store import Store
from tests.servers import CREDENTIALS, forget_clients

OWN = "http://store.test:8333"
AWS = "s3.eu-west-1.amazonaws.com:443"


class Recorder(BaseHTTPRequestHandler):
    """An HTTP proxy that goes nowhere, and remembers which URL was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path.partition("?")[0])
        body = b"content" if self.path.endswith("/a") else b"<ListBucketResult/>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(502)

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The URLs that are asked for, whatever their host; of https just host and port."""
    handler = type("Handler", (Recorder,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        forget_clients()
        yield handler.asked
        proxy.shutdown()
    forget_clients()


@pytest.fixture
def settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Environment variables, and what stands in the profile of the user's choice."""
    environment, profile = request.param
    (tmp_path / "config").write_text(f"[profile mine]\nregion = eu-west-1\n{profile}\n")
    chosen = CREDENTIALS | {"AWS_PROFILE": "mine", "AWS_CONFIG_FILE": str(tmp_path / "config")}
    for name, value in (chosen | environment).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("settings", "object_", "listing"),
    [
        (({"AWS_ENDPOINT_URL": OWN}, ""), f"{OWN}/bucket/out/a", f"{OWN}/bucket"),
        (({"AWS_ENDPOINT_URL_S3": OWN}, ""), f"{OWN}/bucket/out/a", f"{OWN}/bucket"),
        (({}, f"endpoint_url = {OWN}"), f"{OWN}/bucket/out/a", f"{OWN}/bucket"),
        (
            ({"AWS_ENDPOINT_URL": OWN}, "s3 =\n  addressing_style = path"),
            f"{OWN}/bucket/out/a",
            f"{OWN}/bucket",
        ),
        (
            ({"AWS_ENDPOINT_URL": OWN}, "s3 =\n  addressing_style = virtual"),
            "http://bucket.store.test:8333/out/a",
            "http://bucket.store.test:8333/",
        ),
    ],
    indirect=["settings"],
)
def test_an_endpoint_of_ones_own_is_asked_in_the_style_of_the_profile(
    asked: list[str], object_: str, listing: str
):
    store = Store("s3://bucket/out")
    assert store.read("a") == b"content"
    assert list(store.list()) == []
    assert asked == [object_, listing]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("settings", "host"),
    [
        (({}, ""), f"bucket.{AWS}"),
        (({}, "s3 =\n  addressing_style = virtual"), f"bucket.{AWS}"),
        (({}, "s3 =\n  addressing_style = path"), AWS),
    ],
    indirect=["settings"],
)
def test_aws_is_asked_in_the_style_of_the_profile(asked: list[str], host: str):
    with pytest.raises(StoreUnavailable):
        Store("s3://bucket/out", patience=0).read("a")
    assert asked == [host]
