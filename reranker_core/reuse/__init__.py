"""Scores of earlier runs, found by the text of a pair, without Ray."""
