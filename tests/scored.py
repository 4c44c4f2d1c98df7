"""What a part goes through, with scores that the test chooses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from reranker_core.config import Config
from reranker_core.encode.part import EncodedPart, encode_part
from reranker_core.input.schema import InputSchema, resolve_schema
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.scores import Scores
from reranker_core.output.results import ScoredPart, output_table, quarantined
from tests.tables import config

NAN = float("nan")


class Job:
    """What a part goes through, with scores that the test chooses."""

    def __init__(self, bert: Path, *overrides: str) -> None:
        self.config: Config = config("in", "out", *overrides, model=bert)
        self.format = encoder.pair_format(open_checkpoint(self.config.model), self.config.model)

    def schema(self, table: pa.Table) -> InputSchema:
        return resolve_schema(table.schema, self.config, "shard")

    def encode(self, table: pa.Table) -> EncodedPart:
        return encode_part(table, self.schema(table), self.format, self.config)

    def scored(self, table: pa.Table, scores: list[float] | None = None) -> ScoredPart:
        """Give the pairs that can be scored, in order, `scores` (1, 2, 3, …)."""
        part = self.encode(table)
        known = part.distinct_of[part.distinct_of >= 0]
        given = np.arange(1, len(known) + 1) if scores is None else np.array(scores)
        values = np.empty(len(part.sequences), np.float32)
        values[known] = given
        return ScoredPart.of(part, Scores(values, 0), self.config.model)

    def output(self, table: pa.Table, scores: list[float] | None = None) -> pa.Table:
        return output_table(self.scored(table, scores), self.schema(table), self.config.output)

    def quarantined(
        self, table: pa.Table, scores: list[float] | None = None, first_row: int = 0
    ) -> list[dict]:
        return quarantined(self.scored(table, scores), self.schema(table), first_row)
