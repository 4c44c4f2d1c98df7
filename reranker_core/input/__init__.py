"""Which files hold the pairs, in which columns, cut into which parts, and how these are read."""
