"""A worked example: a docstring retrieval collection and a small carried reranker."""
