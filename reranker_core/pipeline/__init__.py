"""The stages of a run on Ray Data. Only this package imports ray."""

import os

# Ray reads these when it is imported or started; what the user has set is left as it is.
_SETTINGS = {
    # Started by `uv run`, Ray would start each worker by `uv run`, too, in a copy of the working
    # directory, where neither the environment nor its packages are.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # What the runtime says of itself is not about the run; errors reach us as exceptions.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",  # none leave the machine
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
