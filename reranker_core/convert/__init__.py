"""Query-passage pairs in other formats become Parquet shards, in bounded memory."""
