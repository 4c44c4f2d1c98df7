"""`python -m tests.faults.damaged > docs/damaged-models.md` measures all kinds."""

from tests.faults.damaged.measure import main

if __name__ == "__main__":
    main()
