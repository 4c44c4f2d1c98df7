"""`python -m jobs.rerank` is `batch-reranker run`."""

from reranker_core.command.main import execute
from reranker_core.command.run import run

if __name__ == "__main__":
    execute(run, "python -m jobs.rerank")
