"""Error responses of stores, extracted from the errors of every client.

Stores wrap the errors of their clients, which wrap those of the network. So the whole chain of
causes is searched, by the attributes that botocore (S3), gcsfs, aiohttp and azure-core set; no
client package is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reranker_core.errors import RerankError, brief

_SHOWN = 200


@dataclass(frozen=True)
class Answer:
    """An error response.

    Attributes:
        status: HTTP status; 0 if unknown.
        code: error code of the store, such as `NoSuchBucket`; may be empty.
        text: first line of its explanation; may be empty.
        operation: the request, such as `PutObject`; may be empty.

    """

    status: int
    code: str
    text: str
    operation: str

    def __str__(self) -> str:
        status = str(self.status) if self.status and str(self.status) != self.code else ""
        said = " ".join(word for word in (status, self.code) if word)
        text = f": {self.text}" if self.text else ""
        return f"{self.operation or 'the request'} was answered {said}{text}"


def answer_of(error: BaseException) -> Answer | None:
    """The response that caused `error`; None without a response, such as a network failure."""
    links = list(chain(error))
    if any(kind.__name__ == "HttpProcessingError" for link in links for kind in type(link).__mro__):
        return None  # of aiohttp, for an answer that it could not read
    for link in links:
        answer = _of_botocore(link) or _of_others(link)
        if answer is not None:
            return answer
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its chain of causes, without errors of this package."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and not isinstance(link, RerankError):
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def told(error: BaseException) -> str:
    """The response in words, the message of the disk, or the first line of the error."""
    answer = answer_of(error)
    if answer is not None:
        return str(answer)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return brief(error)


def _of_botocore(link: BaseException) -> Answer | None:
    response = getattr(link, "response", None)
    if not isinstance(response, dict):
        return None
    error = response.get("Error") or {}
    status = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    return Answer(
        _number(status),
        str(error.get("Code") or ""),
        _line(error.get("Message")),
        str(getattr(link, "operation_name", "")),
    )


def _of_others(link: BaseException) -> Answer | None:
    """Of gcsfs (`code`), aiohttp (`status`) and azure-core (`status_code`)."""
    if isinstance(link, OSError) and link.errno is not None:
        return None
    for name in ("status_code", "status", "code"):
        status = _number(getattr(link, name, None))
        if 300 <= status < 600:
            code = getattr(link, "error_code", None) or ""
            code = getattr(code, "value", code)  # azure-core has an enumeration of those it knows
            return Answer(status, str(code), _line(getattr(link, "message", "")), "")
    return None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _line(text: Any) -> str:
    return next(iter(str(text or "").splitlines()), "")[:_SHOWN]
