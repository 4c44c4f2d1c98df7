"""The stages of a run on Ray Data. Only this package imports ray."""
