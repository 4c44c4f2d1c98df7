"""The configuration of an earlier run, from its output alone: `--like OUTPUT`, `derive OUTPUT`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from reranker_core.config import Config
from reranker_core.config.working_copy import refuse_in_copy
from reranker_core.errors import ConfigError
from reranker_core.errors.redaction import hidden_keys

log = logging.getLogger(__name__)


def configuration_like(
    output: str, overrides: Iterable[str], option: str = "--like ", runs: bool = False
) -> dict[str, Any]:
    """The configuration of the last run that wrote `output`.

    Args:
        output: the output folder.
        overrides: `section.field=value` that will replace values.
        option: what stands before the folder in the command, as messages repeat it.
        runs: whether the command scores, or plans to.

    Raises:
        ConfigError: the output has no configuration, or one that cannot be used here.

    """
    from reranker_core.output.attempts import last_configuration, read_attempts
    from reranker_core.output.identity import require_recorded
    from reranker_core.output.manifest import recorded_manifest
    from reranker_core.storage.store import Store

    refuse_in_copy([(f"{option}{output}", output)])
    store = Store(output)
    require_recorded(store)
    found = last_configuration(read_attempts(store))
    found = found or recorded_manifest(store).get("configuration") or {}
    if not found:
        raise ConfigError(
            f"{option}{output}: this output does not contain its configuration. If `derive` has "
            "not finished it, repeat that command. If an earlier version of batch-reranker wrote "
            "it, use --config"
        )
    replaced = {override.partition("=")[0].strip() for override in overrides}
    hidden = [key for key in hidden_keys(found) if key not in replaced]
    if hidden:
        raise ConfigError(
            f"{option}{output}: the credentials in {', '.join(hidden)} were not recorded. Set "
            f"{hidden[0]}=… again"
        )
    try:
        tree = Config.model_validate_json(json.dumps(found)).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"])
        raise ConfigError(
            f"{option}{output}: the recorded configuration does not fit this version of "
            f"batch-reranker ({key}: {first['msg']}). Use --config"
        ) from None
    if "output.path" not in replaced:
        if runs:
            log.info(
                "--like: output.path is %s, so a run continues it. To score everything again, set "
                "output.path to a new folder",
                store.shown,
            )
        tree["output"]["path"] = output
    return tree
