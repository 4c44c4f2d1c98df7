"""Texts and values of the configuration without credentials, for messages, records and reports."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
# `scheme://user:secret@host`. A port (`host:9000/a@b`) is no secret. Azure's
# `abfs://container@account` holds none.
_PASSWORD = re.compile(r"(://[^/:@\s]+:)(?!\d+/|:)[^@\s]+(?=@)")
_TOKEN = re.compile(r"(\bhttps?://)[^/:@\s]+(?=@)")
_QUERY = re.compile(
    r"([?&][\w.%-]*(?:key|secret|token|sig|signature|password|credential|auth)[\w.%-]*=)[^&\s]+",
    re.IGNORECASE,
)


def without_credentials(value: Any) -> Any:
    """The value with `***` in place of each password, token and signature in a URL. Lists and
    mappings keep their form.
    """
    if isinstance(value, dict):
        return {key: without_credentials(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_credentials(each) for each in value]
    if not isinstance(value, str):
        return value
    for pattern in (_PASSWORD, _TOKEN, _QUERY):
        value = pattern.sub(rf"\1{HIDDEN}", value)
    return value


def hidden_keys(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys whose value has lost credentials."""
    found = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += hidden_keys(value, f"{prefix}{name}.")
        elif HIDDEN in str(value):
            found.append(f"{prefix}{name}")
    return found
