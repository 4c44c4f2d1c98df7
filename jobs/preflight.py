"""`python -m jobs.preflight` is `batch-reranker preflight`."""

from reranker_core.command.main import execute
from reranker_core.command.preflight import preflight

if __name__ == "__main__":
    execute(preflight, "python -m jobs.preflight")
