# The commands of the README. Each sets up what it needs: `make train` on a fresh clone just works.
PYTHON ?= python3
BIN := .venv/bin
# One BLAS thread per test process: two that share two cores would wait for each other.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 WANDB_MODE=offline
# Where this is set, every process would compile all of torch anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: train test test-all gpu-check bench lint format docs lock clean

train: .venv/ready  ## train the default model, DCGAN on MNIST, and score it
	$(BIN)/python -m src.train

test: .venv/ready  ## the tests that every change must pass, in a few minutes
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/ready  ## all tests
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --timeout 3600

gpu-check: .venv/ready  ## whether all of it works on the GPU; without one, a small plan on the CPU
	$(BIN)/python -m benchmarks.gpu_check

bench: .venv/ready  ## the quick ratios of speed; an error if one fell by a tenth
	$(TEST_ENV) $(BIN)/python -m benchmarks.ratios

lint: .venv/ready  ## style, format and which part imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/ready  ## the documentation as a site, docs/_build/README.html; a dead link is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . docs/_build

.venv/ready: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	touch $@

lock:  ## resolve the newest allowed versions into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
		--extra dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv
