# Everything runs out of .venv/, which the first target that needs it makes.
#   make demo           a trained PyTorch detector becomes an int8 TFLite file that still detects
#   make test           the tests (PYTEST_ARGS="-k planner" passes arguments on)
#   make check          format, lint, types, floors, documentation, slow tests
#   make PYTHON=python3.12 demo     another interpreter, at least 3.11

PYTHON ?= python3
VENV := .venv
PYTEST_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROJECTS := $(wildcard plugins/*/pyproject.toml)
PLUGINS := $(patsubst %/pyproject.toml,%,$(PROJECTS))
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt

.PHONY: help venv demo test browser slow check lint types floors docs format bench wheels clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo "further: browser lint types floors slow docs format bench wheels clean"

venv: $(STAMP)

# A set-up that was interrupted leaves no stamp, so the next one goes on where it stopped.
# Build tools come first, because editable installs without isolation are quick and pinned.
$(STAMP): pyproject.toml $(PROJECTS) constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: there is no $(PYTHON); name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: convkit needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "hint: name another interpreter: make PYTHON=python3.12 demo" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) --quiet setuptools wheel hatchling editables
	$(PIP) --no-build-isolation -e '.[dev,docs,report]' $(addprefix -e ,$(PLUGINS))
	@$(BIN)/python tests/support/repair_torchvision.py
	@$(BIN)/python -m compileall -q convkit $(wildcard plugins/*/convkit_*)  # editable installs do not
	@touch $@

demo: $(STAMP)
	@mkdir -p build/demo
	cd build/demo && '$(CURDIR)/$(BIN)/convkit' sample digits-yolo
	cd build/demo && '$(CURDIR)/$(BIN)/convkit' convert --from torch --to tflite-int8

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The report in a headless Chromium, which must be there.
browser: $(STAMP)
	CONVKIT_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/report $(PYTEST_ARGS)

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS) || [ $$? -eq 5 ]  # 5: none was selected

check: lint types floors docs slow

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site
	@echo "documentation: build/site/index.html"

format: $(STAMP)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

wheels: $(STAMP)
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . $(addprefix ./,$(PLUGINS))

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

# Leaves .venv/ and the isolated environments alone: they are what costs time.
clean:
	rm -rf build/demo build/site build/ci-cache dist .mypy_cache .ruff_cache .pytest_cache \
	  .import_linter_cache .hypothesis
