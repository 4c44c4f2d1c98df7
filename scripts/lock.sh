#!/usr/bin/env bash
# Writes requirements.lock (to run) and requirements-dev.lock (to test) from pyproject.toml's ranges.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --disable-pip-version-check)

freeze() {
    echo "# Made by scripts/lock.sh from pyproject.toml; do not edit."
    # A local build of torch (2.13.0+cpu) stands for the release: pip takes either for it.
    "${pip[@]}" freeze --all --exclude batch-reranker | sed 's/+cpu$//'
}

# torch first and exactly, so that nothing below asks for a newer one.
"${pip[@]}" install --quiet "torch==2.13.0" "setuptools>=77" wheel
"${pip[@]}" install --quiet ".[demo]"
freeze | grep -v '^pip==' > requirements.lock
"${pip[@]}" install --quiet ".[demo,train,test,check]"
freeze | grep -v '^pip==' > requirements-dev.lock
