"""Classification of store errors, and the retries of requests."""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from reranker_core.errors import RerankError, StoreFull, StoreRefused, StoreUnavailable
from reranker_core.errors.redaction import without_credentials
from reranker_core.storage.answers import Answer, answer_of, chain, told
from reranker_core.storage.timeout import within

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds that a request is retried before it counts as failed
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 20.0
_TOLD_AFTER = 3.0  # seconds of trouble
_TRIES_IF_DAMAGED = 3
# Of our own code, not of a client: a defect, which must not be hidden.
_DEFECTS = (TypeError, AttributeError, NameError, LookupError, AssertionError, MemoryError)

Result = TypeVar("Result")


class Trouble(Enum):
    """Kinds of store errors, each with its remedy."""

    CREDENTIALS = (
        "the credentials are missing, wrong or expired; set valid ones in the environment or in "
        "the profile (AWS_*, AZURE_STORAGE_*, GOOGLE_APPLICATION_CREDENTIALS), on the nodes too"
    )
    CLOCK = (
        "the clock of this machine is wrong by more than the store allows; set it, on the nodes too"
    )
    KEY = (
        "the store cannot use the encryption key (KMS); check that it exists, that it is enabled, "
        "and that the credentials may use it"
    )
    ARCHIVED = "the object is in an archive; restore it first, or leave it out of input.path"
    DENIED = (
        "the credentials do not allow this; extend their policy, or use other credentials. Buckets "
        "that demand encryption or requester pays need a setting (docs/object-storage.md)"
    )
    BUCKET = (
        "there is no such bucket (Azure: container); create it, or correct the URL or the endpoint"
    )
    REGION = "the bucket is in another region; set AWS_DEFAULT_REGION to the bucket's region"
    REFUSED = (
        "the store refuses the request; docs/object-storage.md lists settings that some stores need"
    )
    DAMAGED = (
        "the store received different bytes than were sent, or does not support their checksum; "
        "docs/object-storage.md lists settings that some stores need"
    )
    THROTTLED = "the store limits the request rate; run again later, or use fewer replicas"
    SERVER = "the store returns server errors; run the same command again when it works"
    CERTIFICATE = (
        "the store's TLS certificate is not trusted; set AWS_CA_BUNDLE to the CA certificate file"
    )
    NETWORK = (
        "the store cannot be reached, or does not answer in time; check the URL, the network, and "
        "for S3 the endpoint (AWS_ENDPOINT_URL)"
    )
    FULL = "no space is left; free some, or raise the quota"
    LIMIT = (
        "the file is larger than the file system or the process limit allows; raise the limit "
        "(ulimit -f), or choose another path"
    )
    PERMISSION = "permission denied; change the owner or mode of the folder, or choose another path"
    READ_ONLY = "the file system is read-only; choose a path on another one"
    PATH = "choose another path"
    DISK = "the disk reports errors; check it, then run the same command again to resume"
    FILES = "too many files are open; raise the limit (ulimit -n)"
    EXISTS = "the object exists already"

    @property
    def passing(self) -> bool:
        """Whether a retry may help."""
        return self in _PASSING


_PASSING = (Trouble.THROTTLED, Trouble.SERVER, Trouble.NETWORK, Trouble.DISK, Trouble.FILES)
_CODES = {
    Trouble.CREDENTIALS: "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken "
    "InvalidClientTokenId TokenRefreshRequired InvalidSecurity AuthenticationFailed "
    "InvalidAuthenticationInfo 401",
    Trouble.CLOCK: "RequestTimeTooSkewed",
    Trouble.ARCHIVED: "InvalidObjectState BlobArchived BlobBeingRehydrated",
    Trouble.DENIED: "AccessDenied AllAccessDisabled AccountProblem 403",
    Trouble.BUCKET: "NoSuchBucket ContainerNotFound FilesystemNotFound",
    Trouble.REGION: "PermanentRedirect AuthorizationHeaderMalformed "
    "IllegalLocationConstraintException 301",
    Trouble.THROTTLED: "SlowDown Throttling ThrottlingException RequestLimitExceeded "
    "TooManyRequests ServiceUnavailable 429 503",
    Trouble.SERVER: "InternalError RequestTimeout OperationAborted ConditionalRequestConflict "
    "BadDigest IncompleteBody 408 409 425 500 502 504",
    Trouble.DAMAGED: "XAmzContentSHA256Mismatch XAmzContentChecksumMismatch",
    Trouble.FULL: "QuotaExceeded XMinioStorageFull InsufficientStorage StorageLimitExceeded "
    "XMinioAdminBucketQuotaExceeded 507",
    Trouble.EXISTS: "PreconditionFailed BlobAlreadyExists PathAlreadyExists 412",
    Trouble.REFUSED: "BlobImmutableDueToPolicy LeaseIdMissing",
}
_CLASSES = {
    # Before the others: clients wrap it into an error of the network.
    Trouble.CERTIFICATE: "SSLCertVerificationError ClientConnectorCertificateError",
    Trouble.CREDENTIALS: "NoCredentialsError PartialCredentialsError CredentialRetrievalError "
    "ProfileNotFound TokenRetrievalError UnauthorizedSSOTokenError DefaultCredentialsError "
    "ClientAuthenticationError",
    Trouble.NETWORK: "HTTPClientError EndpointConnectionError ConnectTimeoutError "
    "ReadTimeoutError ConnectionClosedError ProxyConnectionError ClientPayloadError "
    "ClientConnectionError ServerDisconnectedError IncompleteRead IncompleteReadError "
    "ResponseStreamingError FSTimeoutError ResponseParserError TimeoutError gaierror "
    "ConnectionError ServiceRequestError ServiceResponseError",
}
_ERRNOS = {
    Trouble.THROTTLED: (errno.EBUSY,),
    Trouble.SERVER: (errno.EAGAIN,),
    Trouble.NETWORK: (
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
    ),
    Trouble.FULL: (errno.ENOSPC, errno.EDQUOT),
    Trouble.PERMISSION: (errno.EACCES, errno.EPERM),
    Trouble.READ_ONLY: (errno.EROFS,),
    Trouble.LIMIT: (errno.EFBIG,),
    Trouble.PATH: (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL),
    Trouble.DISK: (errno.EIO, errno.ESTALE, errno.ENXIO),
    Trouble.FILES: (errno.EMFILE, errno.ENFILE),
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
_BY_CLASS = {name: kind for kind, names in _CLASSES.items() for name in names.split()}
_BY_ERRNO = {number: kind for kind, numbers in _ERRNOS.items() for number in numbers}


def trouble(error: BaseException) -> Trouble | None:
    """The kind of a store error, or None if `error` is not a store error."""
    # An answer of the server says more than the class that a client made of it.
    answer = answer_of(error)
    if answer is not None:
        return _kind_of(answer)
    links = list(chain(error))
    names = {kind.__name__ for link in links for kind in type(link).__mro__}
    for name, kind in _BY_CLASS.items():
        if name in names:
            return kind
    for link in links:
        if isinstance(link, OSError) and link.errno in _BY_ERRNO:
            return _BY_ERRNO[link.errno]
    return None


def failure(error: Exception, kind: Trouble, what: str, tries: str = "") -> RerankError:
    """The error of this package after the last try."""
    details = "; ".join(word for word in (tries, told(error)) if word)
    message = f"{what}: {kind.value} ({details})"
    if kind is Trouble.FULL:
        return StoreFull(message)
    return StoreUnavailable(message) if kind.passing else StoreRefused(message, answer_of(error))


def patiently(
    operation: Callable[[], Result],
    what: str,
    patience: float = PATIENCE,
    *,
    limit: float | None = None,
) -> Result:
    """The result of `operation`, with retries while a retry may help.

    Delays double and are random ("full jitter"), so that replicas do not retry at the same time.

    Args:
        operation: must be safe to repeat: an earlier try may have succeeded without a reply.
        what: URL and purpose, for messages.
        patience: seconds after which no new try starts.
        limit: seconds after which a single try counts as failed; None: no limit.

    Raises:
        StoreRefused: a retry cannot help; a setting must be changed.
        StoreFull: there is no space left.
        StoreUnavailable: all tries failed.
        FileNotFoundError, FileExistsError: unchanged, because they are valid answers.

    """
    start = time.monotonic()
    end, attempts, warned = start + patience, 0, False
    while True:
        attempts += 1
        try:
            return operation() if limit is None else within(limit, operation)
        except (RerankError, *_DEFECTS):
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError | FileExistsError) and not answer_of(error):
                raise  # of a disk, whose other words on the way do not matter
            kind = trouble(error)
            if kind is Trouble.EXISTS:
                raise FileExistsError(what) from None
            if kind is None and isinstance(error, FileNotFoundError | FileExistsError):
                raise
            if isinstance(error, FileNotFoundError) and kind is Trouble.DENIED:
                raise
            if kind is None and _is_absent(error):
                raise FileNotFoundError(what) from None
            kind = kind or Trouble.REFUSED
            damaged = kind is Trouble.DAMAGED and attempts < _TRIES_IF_DAMAGED
            if not kind.passing and not damaged:
                raise failure(error, kind, what) from None
            delay = random.uniform(0, min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempts))
            if time.monotonic() + delay > end:
                tries = f"{attempts} tries in {patience:g} s"
                raise failure(error, kind, what, tries) from None
            if not warned and time.monotonic() - start >= _TOLD_AFTER:
                warned = True
                log.warning(
                    "%s: %s; retrying for up to %g s (%s)",
                    *(without_credentials(what), kind.value, patience),
                    without_credentials(told(error)),
                )
            time.sleep(delay)


def is_unknown(answer: Answer | None) -> bool:
    """Whether the store refused for an unknown reason, such as an unsupported request."""
    return answer is not None and _kind_of(answer) in (Trouble.REFUSED, Trouble.DAMAGED)


def _kind_of(answer: Answer) -> Trouble | None:
    if answer.code.startswith("KMS."):
        return Trouble.SERVER if answer.status >= 500 else Trouble.KEY
    found = _BY_CODE.get(answer.code) or _BY_CODE.get(str(answer.status))
    if found is Trouble.EXISTS and answer.operation.startswith(("Get", "Head", "List")):
        return Trouble.REFUSED  # only a write has the condition that the object is new
    if found is None and answer.status == 404 and answer.operation.startswith("List"):
        return Trouble.BUCKET  # an empty folder is listed with 200; also of a server that is no S3
    if found is not None or answer.status == 404 or answer.code in ("404", "NoSuchKey"):
        return found
    return Trouble.SERVER if answer.status >= 500 and answer.status != 501 else Trouble.REFUSED


def _is_absent(error: Exception) -> bool:
    answer = answer_of(error)
    return answer is not None and (answer.status == 404 or answer.code in ("404", "NoSuchKey"))
