"""Score query-passage pairs with a reranker, in bulk, so that the scores can be trusted.

    from reranker_core import Reranker

    Reranker("demo/model").score([("sort a list", "list.sort() sorts the list in place.")])

Everything here but `reranker_core.pipeline` works without ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reranker_core.score.reranker import Reranker

__all__ = ["Reranker", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Reranker":  # late: it loads torch and transformers, which take seconds
        from reranker_core.score.reranker import Reranker

        return Reranker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
