"""An HTTP proxy between S3 clients and a server that does to requests what networks and servers do,
and answers some of them as other stores do.

It keeps the Host header, which is signed, and answers `100-continue` itself. One request a
connection.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections import Counter
from collections.abc import Callable

FAULTS = (
    "slow_down",  # 503, as when the store throttles
    "server_error",  # 500
    "reset_before",  # the server never sees the request
    "reset_in_request",  # the server sees half of it
    "reply_lost",  # the server has done it, and nobody hears of it
    "cut_reply",  # half of the reply
    "delay",
    "late_again",  # done, heard of, and a moment later done a second time
    "lost_and_late",  # reset, but done a moment later, when the client has tried again
)
# Not drawn at random: each takes a client's whole time limit.
HANGS = (
    "hang",  # the connection stays open, and nothing comes
    "trickle",  # the reply comes a byte at a time
)
Chooser = Callable[[str, str], "str | None"]
# A request's head -> status, code and text of the error that answers it.
Refuser = Callable[[str], "tuple[int, str, str] | None"]


def at_random(seed: int, rate: float, faults: tuple[str, ...] = FAULTS) -> Chooser:
    """Faults on this share of all requests."""
    dice = random.Random(seed)
    return lambda method, path: dice.choice(faults) if dice.random() < rate else None


class FaultyProxy:
    """Listens on `port` from `with` on. `choose` says which fault a request meets, given method and
    path; `refuse` says which request is answered with which error; `edit_request` and `edit_reply`
    get the bytes that pass. All can be replaced at any time. `injected` counts faults by kind, and
    refusals by code.
    """

    def __init__(self, upstream: int, choose: Chooser = lambda method, path: None) -> None:
        self.choose = choose
        self.refuse: Refuser = lambda head: None
        self.edit_request: Callable[[bytes], bytes] = lambda head: head
        self.edit_reply: Callable[[bytes], bytes] = lambda reply: reply
        self.injected: Counter[str] = Counter()
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        server = asyncio.start_server(self._serve, "127.0.0.1", 0)
        listening = asyncio.run_coroutine_threadsafe(server, self._loop).result(10)
        self.port = listening.sockets[0].getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *details: object) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(10)

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"100-continue" in head.lower():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head)
            body = await _body(reader, head)
            method, path, *_ = head.decode("latin-1").split(" ")
            refused = self.refuse(head.decode("latin-1"))
            if refused:
                self.injected[refused[1]] += 1
                reply = _error(*refused)
                end = reply.index(b"\r\n\r\n") + 4
                without_body = method == "HEAD" or refused[0] == 304
                writer.write(reply[:end] if without_body else reply)
                await writer.drain()
                writer.close()
                return
            fault = self.choose(method, path)
            if fault:
                self.injected[fault] += 1
            await self._answer(fault, head, body, writer)
        except (OSError, EOFError):
            writer.transport.abort()

    async def _answer(
        self, fault: str | None, head: bytes, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        if fault == "slow_down":
            reply = _error(503, "SlowDown", "Please reduce your request rate.")
        elif fault == "server_error":
            reply = _error(500, "InternalError", "We encountered an internal error.")
        elif fault == "wrong_region":  # not random: it does not pass
            reply = _error(400, "AuthorizationHeaderMalformed", "expecting 'eu-central-1'")
        elif fault in ("reset_before", "lost_and_late"):
            writer.transport.abort()
            if fault == "lost_and_late":
                await asyncio.sleep(random.uniform(0.1, 1.0))
                await self._forward(head, body)
            return
        elif fault == "reset_in_request":
            writer.transport.abort()
            await self._forward(head, body[: len(body) // 2], cut=True)
            return
        else:
            if fault == "delay":
                await asyncio.sleep(random.uniform(0.05, 0.5))
            reply = await self._forward(head, body)
        if fault == "hang":
            await asyncio.sleep(60)
        if fault == "trickle":
            for byte in reply:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        if fault == "reply_lost":
            writer.transport.abort()
            return
        if fault == "cut_reply":
            writer.write(reply[: max(1, len(reply) // 2)])
            await writer.drain()
            writer.transport.abort()
            return
        writer.write(reply)
        await writer.drain()
        writer.close()
        if fault == "late_again":
            await asyncio.sleep(random.uniform(0.1, 1.0))
            await self._forward(head, body)

    async def _forward(self, head: bytes, body: bytes, cut: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            closing = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
            closing = self.edit_request(closing)
            writer.write(closing[:-2] + b"Connection: close\r\n\r\n" + body)
            await writer.drain()
            return b"" if cut else self.edit_reply(await reader.read())
        finally:
            writer.transport.abort() if cut else writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length:
        return await reader.readexactly(int(length[1]))
    body = b""
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readline()
    return body


def _error(status: int, code: str, message: str) -> bytes:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
        f"<Message>{message}</Message><RequestId>0</RequestId></Error>"
    ).encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
