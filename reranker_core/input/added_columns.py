"""The columns that the job adds, and the input columns that collide with them."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from reranker_core.config import Config
from reranker_core.errors import InputError
from reranker_core.input.missing import is_output


def refuse_collisions(
    arrow: pa.Schema,
    carried: tuple[str, ...],
    config: Config,
    shard: str,
    shard_of: Mapping[str, str],
) -> None:
    """Refuse added columns whose names are those of copied columns, or equal to each other.
    `arrow` is the schema of `shard`; `shard_of` names the shards of columns that it lacks.

    Raises:
        InputError: naming the column and the key to change.

    """
    names = added_columns(config)
    for key, name in names:
        if name in carried:
            advice = _rename(key)
            if is_output(arrow):
                advice = (
                    "If this file belongs to an earlier output of batch-reranker, remove it from "
                    f"input.path. Otherwise: {advice[0].lower()}{advice[1:]}"
                )
            raise InputError(
                f"{shard_of.get(name, shard)}: column '{name}' has the name of a column that the "
                f"job adds. {advice}"
            )
    if len({name for _, name in names}) < len(names):
        raise InputError(
            "output.columns: two columns have the same name "
            f"({', '.join(sorted(n for _, n in names))}); give each its own name"
        )


def refuse_case_twins(carried: tuple[str, ...], config: Config) -> None:
    """Refuse an input column `Score` beside the added `score`: a reader that ignores case, such as
    Spark or DuckDB, would take one for the other. Outputs that have begun may have both.

    Raises:
        InputError: naming both columns.

    """
    folded = {name.casefold(): name for name in carried}
    for key, name in added_columns(config):
        if name.casefold() in folded:
            raise InputError(
                f"the input column '{folded[name.casefold()]}' and the column '{name}' that the "
                "job adds differ only in case. Readers that ignore case, such as Spark and DuckDB, "
                f"cannot tell them apart. {_rename(key)}"
            )


def added_columns(config: Config) -> list[tuple[str, str]]:
    """The columns that the job adds, with their keys below `output.columns`."""
    added = config.output.columns
    names = [("score", added.score), ("status", added.status)]
    names += [("score", added.of_layer(layer)) for layer in config.model.cutoff_layers[:-1]]
    if config.output.normalize != "none":
        names.append(("normalized", added.normalized))
    if config.output.rank:
        names.append(("rank", added.rank))
    if config.output.label_thresholds:
        names.append(("label", added.label))
    for key in ("tokens_lost", "chunks"):
        if getattr(config.output, key):
            names.append((key, getattr(added, key)))
    return names


def _rename(key: str) -> str:
    return (
        f"Rename the added column with output.columns.{key}=…, or leave the input column out with "
        "output.passthrough=[…]"
    )
