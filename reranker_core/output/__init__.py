"""The output of a run: data files, receipts, the proof that nothing is missing, `_SUCCESS`."""
