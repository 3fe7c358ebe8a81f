# The two commands of the course: `make course` executes every notebook, `make test` checks
# everything. Both first build the environment in .venv from requirements.lock when it is
# missing or older than the lock.

PYTHON ?= python3
VENV ?= .venv
PROFILE ?= cpu
JOBS ?= 2
BIN := $(VENV)/bin
SOURCES := rg_helpers tests benchmarks notebooks

# Two processes at a time, one thread each: on two cores this beats two threads in one process.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.PHONY: help environment course test lint unit-tests notebook-tests cluster-tests gallery lab lock

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18
	@echo "Variables: PYTHON=python3.12  VENV=.venv  PROFILE=smoke|cpu|gpu  JOBS=2"

environment: $(VENV)/.complete ## build .venv from requirements.lock (when missing or stale)

$(VENV)/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 13) \
	    else f"Python {v[0]}.{v[1]} found, 3.11 or 3.12 needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.lock
	@# On every core, which pip cannot; a few files are templates that do not compile.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $@

course: environment ## execute every notebook (PROFILE=cpu) and write runs/report/index.html
	@status=0; $(BIN)/rgh run --profile $(PROFILE) --jobs $(JOBS) || status=$$?; \
	    $(BIN)/rgh report && exit $$status

test: lint unit-tests notebook-tests cluster-tests gallery ## lint, tests, notebooks at smoke size, pages

lint: environment ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit-tests: environment ## run the tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=15

notebook-tests: environment ## execute every notebook at smoke size, cell by cell
	RGH_PROFILE=smoke $(BIN)/python -m pytest -n $(JOBS) --dist loadscope --nbval-lax \
	    --nbval-current-env --nbval-cell-timeout 120 --timeout 300 notebooks/*.ipynb

cluster-tests: environment ## tests that start and kill nodes of a Ray cluster on this machine
	RGH_CLUSTER_TESTS=1 $(BIN)/python -m pytest tests/distributed/test_ray_cluster.py

gallery: environment ## the course as pages, from the committed notebooks
	$(BIN)/rgh report --committed

lab: environment ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

# Written from a fresh environment, so that nothing installed by hand slips in. A local build
# tag of torch (+cpu, +cu130) is dropped: the lock names the version, your index the build.
lock: ## write requirements.lock anew from the newest versions that pyproject.toml admits
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet $(LOCK_OPTIONS) -e '.[test]' 'setuptools>=77'
	echo '# Exact versions of a complete environment (Python 3.11 and 3.12, Linux); written by' \
	    '`make lock`.' > build/requirements.lock
	build/lock/bin/python -m pip freeze --all --exclude pip --exclude-editable \
	    | sed -E 's/\+[a-z0-9.]+$$//' >> build/requirements.lock
	mv build/requirements.lock requirements.lock
