"""One replica without Ray: token ids to scores."""
