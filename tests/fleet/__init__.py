"""Whole runs on several Ray nodes with made-up GPUs, some of which fail."""
