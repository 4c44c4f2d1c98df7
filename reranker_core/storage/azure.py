"""What is special to Azure Blob Storage, as adlfs opens it."""

from __future__ import annotations

import logging
from typing import Any

import fsspec
from fsspec.asyn import sync

from reranker_core.errors import ConfigError

_BLOCK = "AAAA"  # the id of a block, in Base64


def set_up(filesystem: fsspec.AbstractFileSystem, url: str) -> None:
    """Switch off the retries of the client, which would multiply ours, and its long log of each
    way to find credentials. Check the account.

    Raises:
        ConfigError: the URL names another account than the credentials.

    """
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    for policy in filesystem.service_client._pipeline._impl_policies:
        if hasattr(policy, "total_retries"):
            policy.total_retries = 0
    named, used = _named_account(url), account(filesystem)
    if named and used and named != used:
        raise ConfigError(
            f"{url}: the URL has the account '{named}', but the credentials in the environment "
            f"(AZURE_STORAGE_CONNECTION_STRING, FSSPEC_ABFS) are those of '{used}'. Correct one of "
            "them"
        )


def account(filesystem: fsspec.AbstractFileSystem) -> str | None:
    """The storage account that is asked; None for other stores, or if it is not known."""
    client = getattr(filesystem, "service_client", None)
    return getattr(client, "account_name", None)


def begin_upload(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Send a block of a blob and never use it: needs the permission to write, and the store shows
    no blob. It removes the block after a week.
    """
    container, _, name = path.partition("/")

    async def stage() -> None:
        async with filesystem.service_client.get_blob_client(container, name) as blob:
            await blob.stage_block(_BLOCK, b"-")

    sync(filesystem.loop, stage)


def ask_for_container(filesystem: fsspec.AbstractFileSystem, container: str) -> None:
    """Raise the store's error if there is no such container, which may look like an empty one."""

    async def ask() -> Any:
        async with filesystem.service_client.get_container_client(container) as client:
            return await anext(client.list_blobs(results_per_page=1), None)

    sync(filesystem.loop, ask)


def _named_account(url: str) -> str | None:
    """The account in `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/x`."""
    place = url.partition("://")[2].partition("/")[0]
    container, mark, host = place.rpartition("@")
    return host.partition(".")[0] if container and mark else None
