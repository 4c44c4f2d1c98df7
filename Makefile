# make demo    sets everything up and runs the main job on real input
# make test    sets everything up, lints, and passes the tests: all that needs no Ray and takes no long time
# make test-slow runs the longer ones: the README's commands and whole jobs on Ray (killed drivers, lost GPUs,
#              object stores), compiled code, servers that fail
# make test-all both, with all cases of each test
# make check   lint, types, and the direction of the layers

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL := scripts/install.sh $(VENV)
CASES ?= and not exhaustive
# Dozens of processes import the same modules; only the first is to compile them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-all check setup setup-dev kill chaos parity bench reference screenshot lock clean

demo: setup
	$(BIN)/python -m demo.run $(ARGS)

# A worker for each of two cores, which runs whole modules.
test: setup-dev check
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow $(CASES)"

# The README ends every Ray of the machine, so it comes before the others.
test-slow: setup-dev
	$(BIN)/python -m pytest -m "slow $(CASES)" tests/readme
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow $(CASES)" tests/faults tests/integration tests/fleet
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow $(CASES)" tests/unit tests/parity

test-all:
	$(MAKE) test test-slow CASES=

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint deploy/Dockerfile

# kill -9 of the driver at random moments, then resume: RUNS rounds
kill: setup-dev
	RUNS=$(or $(RUNS),10) $(BIN)/python -m pytest -s tests/faults/test_killed_driver.py

# Faults of all kinds at once, from a seed, and a table of them: RUNS runs; then nights that reuse scores, and lost Ray nodes
chaos: setup-dev
	RUNS=$(or $(RUNS),200) SEED=$(or $(SEED),1) $(BIN)/python -m pytest -s tests/faults/test_chaos.py tests/faults/test_chaotic_nights.py tests/faults/test_killed_nights.py tests/faults/test_lost_nodes.py

# Family, reference and largest difference for each row of docs/families.md; writes docs/parity.md
parity: setup-dev
	$(BIN)/python -m tests.parity.table

bench: setup-dev
	$(INSTALL) --constraint requirements-dev.lock --no-build-isolation --editable ".[bench]"
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.whole_job
	$(BIN)/python -m benchmarks.memory

# What is known of the configuration's keys, for editors and for people.
reference: setup
	$(BIN)/python -m reranker_core.command.reference

# The picture in docs/report.md: a page about two runs of the demo's model, in an installed chromium.
screenshot: setup-dev
	$(BIN)/python -m scripts.screenshot

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.lock pyproject.toml scripts/install.sh
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(INSTALL) -r requirements-dev.lock
	touch $@

# Resolves the ranges of pyproject.toml anew, in throw-away environments, into the two lock files.
lock:
	scripts/lock.sh

clean:
	rm -rf $(VENV) out/demo
