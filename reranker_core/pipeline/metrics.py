"""Numbers of a run for Ray's metrics: Prometheus collects them from the head node, and
`deploy/grafana.json` shows them.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge

from reranker_core.output.receipts import Receipt
from reranker_core.pipeline.state import State

_TAG = "run"
_COUNTERS = {
    "parts": "Committed parts",
    "pairs": "Pairs of committed parts",
    "scored": "Pairs with a score",
    "quarantined": "Pairs without a score",
    "rescued": "Scores that were computed again in float32",
    "tokens": "Tokens of distinct pairs",
    "computed_tokens": "Tokens that replicas computed, padding included",
    "scoring_seconds": "Seconds that replicas computed",
    "waiting_seconds": "Seconds that replicas waited for parts",
}
_GAUGES = {
    "parts_left": "Parts that are not committed yet",
    "replicas_loading": "Replicas that load and check the model",
    "replicas_ready": "Replicas that are ready",
    "replicas_set_aside": "Replicas that cannot score, and whose GPU is not used",
}


class Metrics:
    """The metrics of one run, each with the prefix `reranker_`.

    Args:
        run: digest of the identity of the run, the tag of all its metrics.

    """

    def __init__(self, run: str) -> None:
        tags = {_TAG: run[:12]}
        self._counters = {
            name: Counter(f"reranker_{name}", t, (_TAG,)) for name, t in _COUNTERS.items()
        }
        self._gauges = {name: Gauge(f"reranker_{name}", t, (_TAG,)) for name, t in _GAUGES.items()}
        for metric in [*self._counters.values(), *self._gauges.values()]:
            metric.set_default_tags(tags)

    def committed(self, receipt: Receipt) -> None:
        """Count a part."""
        numbers = {
            "parts": 1,
            "pairs": receipt.pairs,
            "scored": receipt.scored,
            "quarantined": sum(receipt.quarantined.values()),
            "rescued": receipt.rescued,
            "tokens": receipt.tokens,
            "computed_tokens": receipt.computed_tokens,
            "scoring_seconds": receipt.seconds,
            "waiting_seconds": receipt.waited,
        }
        for name, number in numbers.items():
            if number > 0:
                self._counters[name].inc(number)

    def state(self, state: State, parts_left: int) -> None:
        """Show the replicas and the rest of the work."""
        numbers = {
            "parts_left": parts_left,
            "replicas_loading": state.loading,
            "replicas_ready": state.ready,
            "replicas_set_aside": len(state.set_aside),
        }
        for name, number in numbers.items():
            self._gauges[name].set(number)
