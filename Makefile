# `make demo` and `make test` do all the set-up that a machine with make and Python >= 3.10 needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: setup demo test images lint bench clean node-image bundle cluster-up cluster-demo cluster-down

setup: $(VENV)/.complete

# Made again when what is to be installed has changed, and only then.
$(VENV)/.complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("make setup: needs Python 3.10 or newer, and $(PYTHON) is %d.%d. Name another one: make setup PYTHON=/path/to/python3.12" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray,examples,dev]'
	@touch $@

demo: setup
	@$(BIN)/python examples/demo.py

# Parts that the machine lacks are printed as NOT RUN; with REQUIRE_ALL=1 they are failures.
test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

# What the tests with containers start: nothing is pulled, tests/images makes them. Needs a Docker engine and, where they are not in the
# cache (TEST_CACHE or ~/.cache/runner-tests), mmdebstrap, PyPI, and pyenv's 3.6, 3.7 and 3.8. Tests make what they need by themselves, too.
images: setup
	$(BIN)/python tests/images/build.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

# A cluster. BASE is an image with Python >= 3.10 that the engine has or can pull; IMAGES are more images for the bundle.
BASE ?= python:3.11-slim
IMAGES ?=
NODES ?= 2
export BASE NODES

node-image: setup
	$(BIN)/python deploy/bundle.py image --base $(BASE)

bundle: setup
	$(BIN)/python deploy/bundle.py bundle --base $(BASE) $(addprefix --image ,$(IMAGES))

# On this machine, of containers (deploy/compose.yml), in the folder .cluster; needs docker compose or docker-compose.
cluster-up: node-image
	deploy/cluster.sh up

cluster-demo: setup
	deploy/cluster.sh demo

cluster-down:
	deploy/cluster.sh down

clean:
	rm -rf $(VENV) .runner examples/data build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
