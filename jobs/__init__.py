"""The command line without an installation, for `ray job submit`: python -m jobs.run"""
