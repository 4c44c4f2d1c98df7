"""Scores as the data files of an output have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_core.config import OutputConfig
from reranker_core.input.pairs import Status

_KEYS = ("columns", "tokens_lost", "chunks")


def lower_layers(run: dict[str, Any]) -> list[int]:
    """The cutoff layers but the last one, from the identity of a run."""
    cutoffs = run["fingerprint"].get("cutoff_layer")
    return cutoffs[:-1] if isinstance(cutoffs, list) else []


@dataclass(frozen=True)
class Written:
    """The columns of data files that a scored part is made of again.

    Attributes:
        nested: whether they have lists.
        status: name of the column.
        score: name of the column.
        layers: names of the scores of lower cutoff layers, by layer.
        counts: names of the columns for `lost` and `chunks` of `ScoredPart`, if the files have
            these.

    """

    nested: bool
    status: str
    score: str
    layers: dict[int, str]
    counts: dict[str, str]

    @classmethod
    def of(cls, output: OutputConfig, nested: bool, layers: list[int]) -> Written:
        """In files that are written with this configuration."""
        names = output.columns
        counts = {"lost": names.tokens_lost} if output.tokens_lost else {}
        counts |= {"chunks": names.chunks} if output.chunks else {}
        by_layer = {layer: names.of_layer(layer) for layer in layers}
        return cls(nested, names.status, names.score, by_layer, counts)

    @classmethod
    def of_run(cls, run: dict[str, Any]) -> Written:
        """In the files of the run with this identity."""
        output = OutputConfig(path="unused", **{key: run["output"][key] for key in _KEYS})
        return cls.of(output, run["input"]["layout"] == "nested", lower_layers(run))

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [self.status, self.score, *self.layers.values(), *self.counts.values()]

    def read(self, table: pa.Table) -> dict[str, Any]:
        """Fields of `ScoredPart` from a table with these columns: `status`, `score`, `layers`, and
        what `counts` names.
        """
        codes = {kind.label: kind for kind in Status}
        status = self._flat(table, self.status).to_pylist()
        return {
            "status": np.array([codes[each] for each in status], np.int8),
            "score": self._scores(table, self.score),
            "layers": {layer: self._scores(table, name) for layer, name in self.layers.items()},
        } | {
            key: self._flat(table, name).fill_null(0).to_numpy().astype(np.int32)
            for key, name in self.counts.items()
        }

    def _flat(self, table: pa.Table, name: str) -> pa.Array:
        values = table.column(name).combine_chunks()
        return values.flatten() if self.nested else values

    def _scores(self, table: pa.Table, name: str) -> npt.NDArray[np.float32]:
        return self._flat(table, name).to_numpy(zero_copy_only=False).astype(np.float32)
