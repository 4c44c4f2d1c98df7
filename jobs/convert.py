"""`python -m jobs.convert` is `batch-reranker convert`."""

from reranker_core.command.convert import convert
from reranker_core.command.main import execute

if __name__ == "__main__":
    execute(convert, "python -m jobs.convert")
