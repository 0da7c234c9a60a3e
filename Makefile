# Everything a newcomer types: `make demo` to see it work, `make test` to know it does.
# Both set up their own .venv on a machine that has only Python (3.11 or newer) and make.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
SOURCES := src tests examples benchmarks docs/machinery

.PHONY: help demo test verify docs lint format clean

help:
	@echo "make demo    verify every system on a photograph, write report/index.html (under 2 minutes)"
	@echo "make test    lint, types and the whole test suite"
	@echo "make verify  one row per system of the text: by hand, PyTorch and every algorithm"
	@echo "make docs    the site in English and Chinese, in site/index.html"
	@echo "make format  rewrite the sources in the house format"

demo: $(READY)
	$(BIN)/faltung demo report

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal --doctest-modules src tests

verify: $(READY)
	$(BIN)/faltung verify

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file mkdocs.zh.yml
	@echo "open site/index.html"

lint: $(READY)
	$(BIN)/ruff format --check -q $(SOURCES)
	$(BIN)/ruff check -q $(SOURCES)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf .venv report site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "faltung needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
