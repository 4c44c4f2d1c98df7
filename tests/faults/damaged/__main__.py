"""`python -m tests.faults.damaged > docs/damaged-models.md` measures all kinds."""

from tests.faults.damaged import language_tables, measure

if __name__ == "__main__":
    measure.main()
    language_tables.main()
