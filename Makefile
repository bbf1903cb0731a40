# `make demo` and `make test` set everything up in .venv first; repeated calls install nothing.

VENV := .venv
BIN := $(VENV)/bin
OLDEST := $(VENV)/oldest
LIBRARIES := $(VENV)/libraries

# Modules are compiled when they are first imported: most of TensorFlow's never are. Some container
# images forbid it: each process would compile them again.
INSTALL = -m pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE

# The first Python that can make an environment: 3.11 to 3.13, for which TensorFlow 2.21 has
# wheels, or else a newer one. Before .venv exists, `make test PYTHON=...` takes another.
IS_FIT = -c 'import ensurepip, sys, venv; sys.exit(not (3,$(1)) <= sys.version_info < (3,$(2)))'
find = $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p $(call IS_FIT,$(1),$(2)) 2>/dev/null && echo $$p && break; done)
PYTHON ?= $(or $(call find,11,14),$(call find,11,99))
# fastersom, one of the libraries to compare with, needs 3.12.
LIBRARIES_PYTHON ?= $(or $(call find,12,14),$(PYTHON))

# Tests run in a process for each core, but in four at most: each takes 1.5 GiB. With one more than
# two cores they take 1.08 times as long. Idle threads of BLAS and OpenMP sleep at once: else they
# spin on the cores that other processes need, and the tests take 1.08 times as long.
N_PROCESSES = $(shell $(BIN)/python -c 'import os; print(min(os.cpu_count(), 4))')
PYTEST = OPENBLAS_THREAD_TIMEOUT=4 OMP_WAIT_POLICY=passive \
	$(BIN)/python -m pytest -n $(N_PROCESSES) --dist worksteal

# Files of `make test-oldest`; empty for all.
OLDEST_TESTS ?=

# How long `make fuzz` runs.
MINUTES ?= 10

# How often `make test-shuffled` runs the tests.
ROUNDS ?= 1

# Further interpreters for `make test-matrix` and `make release-check`, and files of the first.
PYTHONS ?=
MATRIX_TESTS ?= tests
# `--tests` also runs the tests from the sdist.
RELEASE ?=

# Of the benchmarks; empty for all points and rounds.
SET ?= --short
# Folder of reference data that are not part of the repository; without it tables are missing.
REFERENCE ?=

.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo         map handwritten digits and compare with k-means"
	@echo "make test         run the tests"
	@echo "make test-shuffled  run the tests in other orders (make test-shuffled ROUNDS=20)"
	@echo "make test-oldest  run the tests with the oldest supported scikit-learn"
	@echo "make test-engines  run the tests with clusters of Dask, Ray and Spark"
	@echo "make test-matrix  run the tests with each Python, oldest and newest libraries (hours)"
	@echo "make fuzz         run the property-based tests with new seeds (make fuzz MINUTES=10)"
	@echo "make faults       interrupt and kill fits, fill the disk, damage checkpoints"
	@echo "make bench        compare with k-means, into output/results (minutes)"
	@echo "make bench-full   all points and rounds (hours; with REFERENCE=FOLDER)"
	@echo "make bench-all    all benchmarks, for a release (less than 3 hours)"
	@echo "make bench-libraries  compare with other libraries, in an environment of their own"
	@echo "make figures      write the figures of the results into the texts"
	@echo "make docs         build the documentation into output/docs"
	@echo "make release-check  build and check sdist and wheel of the last commit (uploads nothing)"
	@echo "make lint         run the linters (make format: let them fix what they can)"
	@echo "make clean        remove what make has made"

.PHONY: demo
demo: $(VENV)/.demo
	$(BIN)/python examples/digits_demo.py

.PHONY: test
test: $(VENV)/.test
	$(PYTEST)

# Modules, and tests within modules, in a random order, whose seed is printed.
.PHONY: test-shuffled
test-shuffled: $(VENV)/.test
	for round in $$(seq $(ROUNDS)); do $(PYTEST) --random-order || exit 1; done

# The same environment with the oldest scikit-learn laid in front.
.PHONY: test-oldest
test-oldest: $(VENV)/.oldest
	PYTHONPATH=$(abspath $(OLDEST)) $(BIN)/python -c \
		'import sklearn; assert sklearn.__version__.startswith("1.6."), sklearn.__version__'
	PYTHONPATH=$(abspath $(OLDEST)) $(PYTEST) $(OLDEST_TESTS)

# Clusters of Dask, Ray and Spark on this machine; Spark needs Java.
.PHONY: test-engines
test-engines: $(VENV)/.engines
	for name in clusters_dask ray spark; do \
		$(BIN)/python -m pytest tests/engine_$$name.py || exit 1; done

# New environments, one after the other; each downloads and unpacks TensorFlow.
.PHONY: test-matrix
test-matrix: | $(BIN)/python
	$(BIN)/python .ci/test_matrix.py $(addprefix --python ,$(PYTHONS)) $(MATRIX_TESTS)

.PHONY: fuzz
fuzz: $(VENV)/.test
	$(BIN)/python tests/fuzz.py $(MINUTES)

.PHONY: faults
faults: $(VENV)/.test
	$(BIN)/python tests/faults.py

.PHONY: bench
bench: $(VENV)/.test
	for name in speed extremes scaling usefulness imputation sparse_samples streams serving; do \
		$(BIN)/python benchmarks/$$name.py $(SET) || exit 1; done
	for name in clustering anomaly; do \
		$(BIN)/python benchmarks/$$name.py $(SET) $(addprefix --reference=,$(REFERENCE)) \
			|| exit 1; done

.PHONY: bench-full
bench-full:
	$(MAKE) bench SET=

.PHONY: bench-libraries
bench-libraries: $(VENV)/.libraries
	$(LIBRARIES)/bin/python benchmarks/libraries.py $(SET)
	$(LIBRARIES)/bin/python benchmarks/quality.py $(SET) $(addprefix --reference=,$(REFERENCE))
	$(LIBRARIES)/bin/python benchmarks/first_fits.py $(SET)

# They measure no times: they may run beside others.
.PHONY: soak installation
soak installation: $(VENV)/.test
	$(BIN)/python benchmarks/$@.py

# For a release: less than 3 hours on a machine without other load.
.PHONY: bench-all
bench-all: $(VENV)/.test $(VENV)/.engines
	@test -n "$(REFERENCE)" || { echo "Say make bench-all REFERENCE=FOLDER." >&2; exit 1; }
	$(MAKE) bench bench-libraries SET=
	for name in workers engines; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/folds.py --reference=$(REFERENCE)
	$(MAKE) --jobs=3 soak installation faults
	$(MAKE) figures

.PHONY: figures
figures: $(VENV)/.test
	$(BIN)/python benchmarks/figures.py

# It runs the examples; `make docs SPHINXOPTS="-D plot_gallery=0"` leaves that out.
.PHONY: docs
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -d output/doctrees $(SPHINXOPTS) docs output/docs
	@echo "The documentation: output/docs/index.html"

.PHONY: lint
lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: release-check
release-check: $(VENV)/.release
	$(BIN)/python .ci/release_check.py $(addprefix --python ,$(PYTHONS)) $(RELEASE)

.PHONY: clean
clean:
	rm -rf $(VENV) output docs/generated docs/_*.rst .hypothesis .pytest_cache .mypy_cache \
		.ruff_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with venv found. Install one (on Debian" \
		"also python3-venv), or say make test PYTHON=/path/to/python." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV): TensorFlow is large, this takes some minutes the first time."
	$(BIN)/python $(INSTALL) --upgrade "pip>=25.1"
	$(BIN)/python $(INSTALL) --editable ".[plot]"
	@touch $@

GROUPS := test lint docs engines release

$(GROUPS:%=$(VENV)/.%): $(VENV)/.%: pyproject.toml $(VENV)/.demo
	$(BIN)/python $(INSTALL) --group $*
	@touch $@

# One by one, so that one that does not install does not affect the others. The build of somoclu
# needs NumPy but does not declare it (hence no build isolation), and builds for CUDA if it finds a
# compiler. PyTorch is large: an index of CPU builds in PIP_EXTRA_INDEX_URL saves gigabytes.
$(VENV)/.libraries: pyproject.toml
	$(LIBRARIES_PYTHON) -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/python $(INSTALL) --upgrade "pip>=25.1" setuptools wheel
	$(LIBRARIES)/bin/python $(INSTALL) --editable ".[plot]"
	@$(LIBRARIES)/bin/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["bench-libraries"], \
		sep="\n")' | while read -r library; do \
		echo "Installing $$library"; \
		CUDAHOME=none $(LIBRARIES)/bin/python $(INSTALL) --no-build-isolation \
			"$$library" </dev/null || echo "$$library does not install: skipped."; done
	@touch $@

$(VENV)/.oldest: pyproject.toml $(VENV)/.test
	rm -rf $(OLDEST)
	$(BIN)/python $(INSTALL) --no-deps --target $(OLDEST) "scikit-learn==1.6.*"
	@touch $@
