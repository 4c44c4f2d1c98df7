"""`python -m jobs.evaluate` is `batch-reranker evaluate`."""

from reranker_core.command.evaluate import evaluate
from reranker_core.command.main import execute

if __name__ == "__main__":
    execute(evaluate, "python -m jobs.evaluate")
