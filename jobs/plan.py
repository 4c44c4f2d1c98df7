"""`python -m jobs.plan` is `batch-reranker plan`."""

from reranker_core.command.main import execute
from reranker_core.command.plan import plan

if __name__ == "__main__":
    execute(plan, "python -m jobs.plan")
