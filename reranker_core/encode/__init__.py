"""Texts to token ids. Needs neither torch nor transformers."""
