"""`python -m jobs.report` is `batch-reranker report`."""

from reranker_core.command.main import execute
from reranker_core.command.report import report

if __name__ == "__main__":
    execute(report, "python -m jobs.report")
