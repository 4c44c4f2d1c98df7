"""How the carried reranker is made: data, vocabulary, first weights, training."""
