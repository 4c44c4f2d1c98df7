"""`python -m jobs.training_data` is `batch-reranker training-data`."""

from reranker_core.command.main import execute
from reranker_core.command.training_data import training_data

if __name__ == "__main__":
    execute(training_data, "python -m jobs.training_data")
