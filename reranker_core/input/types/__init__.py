"""Arrow types: one that holds the values of several, and values in it."""
