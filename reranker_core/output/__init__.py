"""What a run leaves behind: data files, receipts, the proof that nothing is missing, `_SUCCESS`."""
