"""The command line without an installation, for `ray job submit`: python -m jobs.run"""

import sys

from reranker_core.stopping import exit_on_signals

if sys.argv[0] == "-m":  # Python is about to run a module of this package
    exit_on_signals()
