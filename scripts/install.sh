#!/usr/bin/env bash
# scripts/install.sh VENV ARGUMENT...: `uv pip install ARGUMENT...` into VENV, faster than
# pip. Dependencies are resolved although the locks are complete: PyPI's torch for Linux needs
# CUDA libraries that the CPU build, which the locks were made with, does without.
set -euo pipefail
python=$1/bin/python
shift
"$python" -m uv --version > /dev/null 2>&1 \
    || "$python" -m pip --disable-pip-version-check install --quiet --no-compile "uv==0.13.9"

# uv reads none of pip's settings; these say where packages are.
setting() {
    echo "${!1:-$("$python" -m pip config get "global.$2" 2> /dev/null || true)}"
}
UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$(setting PIP_INDEX_URL index-url)}
UV_EXTRA_INDEX_URL=${UV_EXTRA_INDEX_URL:-$(setting PIP_EXTRA_INDEX_URL extra-index-url)}
UV_FIND_LINKS=${UV_FIND_LINKS:-$(setting PIP_FIND_LINKS find-links)}
export UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS
export UV_INDEX_STRATEGY=unsafe-best-match # the best version of all places, as pip has it
export UV_SYSTEM_CERTS=true
exec "$python" -m uv pip install --quiet --python "$python" "$@"
