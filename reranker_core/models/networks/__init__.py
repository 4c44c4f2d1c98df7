"""What computes the scores: transformers' layers, and heads that compute no more than a score.

A family imports its network when a model is loaded, not before: the driver needs none, and
transformers' layers take seconds to import.
"""
