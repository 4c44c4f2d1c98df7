"""Reranker families: how a pair becomes ids, and how a forward becomes a score.

A new family is one new file in this folder and one line in `families.FAMILIES`; a new prompt for
language models is one entry in `templates.TEMPLATES`.
"""
