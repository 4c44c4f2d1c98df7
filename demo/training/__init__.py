"""How the reranker of the demo is trained: data, vocabulary, first weights, training."""
