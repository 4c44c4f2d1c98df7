"""Reranker families: how a pair becomes ids, and how the output of a model becomes a score.

To add a family, add a file to this folder and a line to `families.FAMILIES`. To add a prompt for
language models, add an entry to `templates.TEMPLATES`.
"""
