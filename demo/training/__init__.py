"""How the carried reranker is made: data, vocabulary, first weights, two training stages."""
