"""A worked example: a docstring retrieval collection and a small reranker in the repository."""
