"""Files and objects: one interface to every store, and what the errors of a store mean."""
