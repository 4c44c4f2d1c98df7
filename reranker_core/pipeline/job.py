"""The facts of a run that every stage needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reranker_core.config import Config
from reranker_core.input.plan import Plan
from reranker_core.input.schema import InputSchema
from reranker_core.output.earlier_scores import EarlierScores
from reranker_core.output.identity import digest, temperature
from reranker_core.output.lease import Fence
from reranker_core.pipeline import code
from reranker_core.storage.store import Store


@dataclass(frozen=True)
class Job:
    """The facts of a run that are sent to the workers."""

    config: Config
    schema: InputSchema
    run: str
    model: dict[str, str]  # digests of the model's files, as the driver sees them
    store: Store  # the output, with what the driver found out about it
    fence: Fence
    pairs: float  # that each replica is to score, if all come
    temperature: float  # what scores are divided by before they are normalised
    code: str  # digest of the driver's code
    reuse: EarlierScores | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        plan: Plan,
        run: dict[str, Any],
        store: Store,
        fence: Fence,
        pairs: float = 0.0,
        reuse: EarlierScores | None = None,
    ) -> Job:
        """The facts of the run with the identity `run`."""
        scoring = run["fingerprint"]
        return cls(
            config,
            plan.schema,
            digest(run),
            scoring["model"],
            store,
            fence,
            pairs,
            temperature(scoring),
            code.digest(),
            reuse,
        )
