"""What a store's errors mean, and the one place where a request is tried again.

Stores wrap the errors of their clients, which wrap those of the network. So the whole chain of
causes is looked at, by class name, error code and HTTP status; no client package is imported.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TypeVar

from reranker_core.errors import RerankError, StoreRefused, StoreUnavailable, brief

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds that a request is tried again before it counts as failed
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 20.0
_TOLD_AFTER = 3.0  # seconds of trouble

Result = TypeVar("Result")


class Trouble(Enum):
    """Kinds of trouble with a store, each with what a person should do about it."""

    CREDENTIALS = (
        "the credentials are missing, wrong or expired; put valid ones into the environment or "
        "the profile (AWS_*), on the nodes too"
    )
    DENIED = "the credentials are not permitted to do this; extend their policy, or use others"
    BUCKET = "there is no such bucket; create it, or mend the URL or the endpoint"
    REGION = "the bucket is in another region; set AWS_DEFAULT_REGION to its own"
    THROTTLED = "the store throttles; run again later, or use fewer replicas"
    SERVER = "the store answers with errors of its own; run again when it is well"
    NETWORK = "the store cannot be reached; check the endpoint (AWS_ENDPOINT_URL) and the network"
    EXISTS = "the object is there already"

    @property
    def passing(self) -> bool:
        """Whether another try may help."""
        return self in (Trouble.THROTTLED, Trouble.SERVER, Trouble.NETWORK)


_CODES = {
    Trouble.CREDENTIALS: "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken "
    "InvalidClientTokenId TokenRefreshRequired RequestTimeTooSkewed InvalidSecurity",
    Trouble.DENIED: "AccessDenied AllAccessDisabled AccountProblem 401 403",
    Trouble.BUCKET: "NoSuchBucket",
    Trouble.REGION: "PermanentRedirect AuthorizationHeaderMalformed "
    "IllegalLocationConstraintException 301",
    Trouble.THROTTLED: "SlowDown Throttling ThrottlingException RequestLimitExceeded "
    "TooManyRequests ServiceUnavailable 429 503",
    Trouble.SERVER: "InternalError RequestTimeout OperationAborted ConditionalRequestConflict "
    "BadDigest XAmzContentSHA256Mismatch IncompleteBody 408 409 500 502 504",
    Trouble.EXISTS: "PreconditionFailed 412",
}
_CLASSES = {
    Trouble.CREDENTIALS: "NoCredentialsError PartialCredentialsError CredentialRetrievalError "
    "ProfileNotFound TokenRetrievalError UnauthorizedSSOTokenError DefaultCredentialsError",
    Trouble.NETWORK: "HTTPClientError EndpointConnectionError ConnectTimeoutError "
    "ReadTimeoutError ConnectionClosedError ProxyConnectionError ClientPayloadError "
    "ClientConnectionError ServerDisconnectedError IncompleteRead IncompleteReadError "
    "ResponseStreamingError FSTimeoutError ResponseParserError TimeoutError gaierror "
    "ConnectionError",
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
_BY_CLASS = {name: kind for kind, names in _CLASSES.items() for name in names.split()}
_BY_ERRNO = {
    errno.EBUSY: Trouble.THROTTLED,
    errno.EAGAIN: Trouble.SERVER,
    errno.ETIMEDOUT: Trouble.NETWORK,
    errno.ECONNRESET: Trouble.NETWORK,
    errno.ECONNREFUSED: Trouble.NETWORK,
    errno.ENETUNREACH: Trouble.NETWORK,
    errno.EHOSTUNREACH: Trouble.NETWORK,
}


def trouble(error: BaseException) -> Trouble | None:
    """What kind of trouble `error` tells of, or None if it is no trouble with a store."""
    links = list(_chain(error))
    # An answer of the server says more than the class that a client made of it.
    for link in links:
        response = getattr(link, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            found = _BY_CODE.get(code) or _BY_CODE.get(str(status))
            if found is not None:
                return found
    for link in links:
        for kind in type(link).__mro__:
            if kind.__name__ in _BY_CLASS:
                return _BY_CLASS[kind.__name__]
    for link in links:
        if isinstance(link, OSError) and link.errno in _BY_ERRNO:
            return _BY_ERRNO[link.errno]
    return None


def patiently(operation: Callable[[], Result], what: str, patience: float = PATIENCE) -> Result:
    """The result of `operation`, tried again while the trouble may pass.

    Delays double and are drawn at random ("full jitter"), so that replicas which were turned away
    together do not come back together.

    Args:
        operation: must be safe to repeat: its earlier try may have succeeded unheard.
        what: URL and purpose, for messages.
        patience: seconds after which no further try begins.

    Raises:
        StoreRefused: no try will help until somebody mends something.
        StoreUnavailable: the trouble did not pass in time.
        FileNotFoundError, FileExistsError: as they are; they are answers.

    """
    start = time.monotonic()
    end, attempts, told = start + patience, 0, False
    while True:
        attempts += 1
        try:
            return operation()
        except RerankError:
            raise
        except Exception as error:
            kind = trouble(error)
            if kind is Trouble.EXISTS:
                raise FileExistsError(what) from None
            if kind is None or (isinstance(error, FileNotFoundError) and kind is Trouble.DENIED):
                raise
            if not kind.passing:
                raise StoreRefused(f"{what}: {kind.value} ({brief(error)})") from None
            delay = random.uniform(0, min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempts))
            if time.monotonic() + delay > end:
                raise StoreUnavailable(
                    f"{what}: {kind.value} ({attempts} tries in {patience:g} s; {brief(error)})"
                ) from None
            if not told and time.monotonic() - start >= _TOLD_AFTER:
                told = True
                log.warning(
                    "%s: %s; trying again for up to %g s (%s)",
                    *(what, kind.value, patience, brief(error)),
                )
            time.sleep(delay)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
