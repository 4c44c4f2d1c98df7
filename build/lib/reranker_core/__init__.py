"""Score query-passage pairs with a reranker, in bulk, so that the scores can be trusted.

Everything here but `reranker_core.pipeline` works without ray.
"""

__version__ = "0.1.0"
