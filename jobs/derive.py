"""`python -m jobs.derive` is `batch-reranker derive`."""

from reranker_core.command.derive import derive
from reranker_core.command.main import execute

if __name__ == "__main__":
    execute(derive, "python -m jobs.derive")
