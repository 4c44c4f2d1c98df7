"""The command line: `batch-reranker`, and the same as `python -m jobs.<name>`."""
