# Everything runs from .venv, which `make install` makes. A fresh machine needs python3 and make;
# a C compiler is used where there is one.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

# The same for everybody: no seed by chance, nor the order of a set; a file's tests in one process,
# and the longest files first (tests/conftest.py), where xdist would begin with those of most tests.
# Threads that wait sleep, since the two processes and what they start share the cores.
PYTEST := PYTHONHASHSEED=0 OMP_WAIT_POLICY=passive $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The text files to train on; without them, the Python files of the standard library.
TEXT ?=

.PHONY: install run quick test lint types pytest explore fuzz malformed docs notebooks site modules sanitize wheels release rehearsal torch-versions format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

run: $(STAMP)
	$(BIN)/unrolled train lm $(or $(TEXT),--standard-library --held-out 0.02) --hidden-size 256 --minutes 1.5

# The first look, in a minute: without what compiles many kernels, trains, or drives a browser.
quick: lint types
	$(PYTEST) -m 'not slow'

test: lint types pytest

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/mypy

pytest: $(STAMP)
	$(PYTEST)

# What the default run does not see: new seeds, new examples, another order. What it finds it prints
# with the line that keeps it: put that above the test.
MINUTES ?= 30
explore: $(STAMP)
	$(BIN)/python tests/explore.py --minutes $(MINUTES)

# Random arguments of operators and layers, until the time is over or one ends the process.
fuzz: $(STAMP)
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES)

# All malformed inputs on all commands, and how many ended how; the tests run every third.
malformed: $(STAMP)
	$(BIN)/python tests/malformed/running.py

# The page of all options, which a test compares with the commands.
docs: $(STAMP)
	$(BIN)/python -m unrolled.cli.reference docs/options.md
	$(BIN)/python -m unrolled.cli.catalogue docs/catalogue.md

# The notebooks, made of their sources and run: they keep what they print and draw.
notebooks: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs,export,sklearn,translation]'
	$(BIN)/jupytext --quiet --update --set-kernel python3 --to ipynb notebooks/*.py
	$(BIN)/jupyter nbconvert --log-level WARN --to notebook --inplace --execute --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

# The documentation as a site in build/site, in strict mode: a link that leads nowhere ends it.
site: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The WebAssembly modules of the built-in cells, after a change to their C; a test holds them to it.
modules: $(STAMP)
	$(BIN)/python -c "from unrolled.export.wasm.modules import make; make()"

# The kernels of all cells, at all sizes: between guard pages, with gcc's sanitizers, for other
# processors (aarch64 by qemu-user), and many threads on one row. Over a quarter of an hour.
sanitize: $(STAMP)
	UNROLLED_SANITIZE=1 $(BIN)/pytest -n 2 tests/kernels/test_programs.py tests/kernels/test_threads.py

# The wheel for all systems, then one with kernels inside for each of PLATFORMS (all, if empty):
# compiled for it, looked at, and not run here. docs/platforms.md says what is proven of them.
PLATFORMS ?=
wheels: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement packaging/requirements.txt
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/python packaging/wheels.py dist/unrolled-*-py3-none-any.whl $(PLATFORMS:%=--for %)

# What is published, in dist/: sdist, wheels, SBOM, checksums and notes, of the tagged commit that HEAD is.
# PLATFORMS=none leaves out the wheels with kernels; INDEX= is asked whether it has the version.
# docs/releasing.md says how a release goes.
INDEX ?=
release: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement packaging/requirements.txt
	$(BIN)/python packaging/release.py $(PLATFORMS:%=--for %) $(if $(INDEX),--index '$(INDEX)')

# dist/ as a user meets it: from an index in a folder to the README's commands, without network.
rehearsal: $(STAMP)
	$(BIN)/python packaging/rehearsal.py

# What depends on torch, tested with other versions of it, each in a new environment. INDEX= is an
# index of builds for CPUs; without one the builds for CUDA are taken, without CUDA's libraries.
TORCH ?= 2.10.0 2.15.0
torch-versions: $(STAMP)
	$(BIN)/python packaging/torch_versions.py $(TORCH) $(if $(INDEX),--index-url '$(INDEX)')

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Everything that can be made again. Runs are not: they stay.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests examples benchmarks -type d -name __pycache__ -exec rm -rf {} +
