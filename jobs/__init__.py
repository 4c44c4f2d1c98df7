"""The command line jobs: parse, call, exit code."""
