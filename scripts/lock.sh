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
    "${pip[@]}" freeze --all --exclude batch-reranker
}

# torch first and exactly: PyPI's build of this version needs no CUDA packages on a CPU machine.
"${pip[@]}" install --quiet "torch==2.13.0" "setuptools>=77" wheel
"${pip[@]}" install --quiet ".[demo]"
freeze | grep -v '^pip==' > requirements.lock
"${pip[@]}" install --quiet ".[demo,train,test,check]"
freeze | grep -v '^pip==' > requirements-dev.lock
