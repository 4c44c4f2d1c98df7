"""The keys of the configuration, a file for each topic."""
