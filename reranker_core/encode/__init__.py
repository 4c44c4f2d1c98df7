"""From texts to token ids. Imports neither torch nor transformers."""
