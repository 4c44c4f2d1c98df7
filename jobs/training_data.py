"""`python -m jobs.training_data`, the earlier name of `python -m jobs.export`."""

from reranker_core.command.export import export
from reranker_core.command.main import execute

if __name__ == "__main__":
    execute(export, "python -m jobs.training_data")
