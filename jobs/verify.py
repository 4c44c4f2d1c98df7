"""`python -m jobs.verify` is `batch-reranker verify`."""

from reranker_core.command.main import execute
from reranker_core.command.verify import verify

if __name__ == "__main__":
    execute(verify, "python -m jobs.verify")
