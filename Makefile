PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONSTRAINTS ?= constraints.txt

.PHONY: help install demo test types docs wheel clean

help:
	@echo "make install   a virtual environment in $(VENV) with the mulligan command in it"
	@echo "make demo      five minutes from nothing to handwritten digits, in runs/demo"
	@echo "make test      install what the tests need, and run them"
	@echo "make types     install what the tests need, and check types where pyproject.toml says"
	@echo "make docs      the documentation as a site, in site/"
	@echo "make wheel     build the wheel, in dist/"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("Mulligan needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.testable: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e ".[test]"
	@touch $@

demo: install
	$(BIN)/mulligan train digits --minutes 5 --out runs/demo
	$(BIN)/mulligan sample runs/demo -n 100 --out runs/demo/digits.png

test: $(VENV)/.testable
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

types: $(VENV)/.testable
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) -e ".[docs]"
	$(BIN)/mulligan parts --markdown > docs/parts.md
	$(BIN)/python docs/command_line.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/.installed
	rm -rf build  # what lies there from before would go into the wheel
	$(BIN)/python -m pip wheel -q --no-deps -w dist .

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
