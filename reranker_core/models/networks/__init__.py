"""Networks that compute scores: layers of transformers, and heads that compute only what a score
needs.

A family imports its network only when it loads a model. The driver loads no model, and importing
transformers' layers takes seconds.
"""
