PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help install demo test docs lint clean

help:
	@echo "make install   a virtual environment in $(VENV) with the mulligan command in it"
	@echo "make demo      five minutes from nothing to handwritten digits, in runs/demo"
	@echo "make test      install what the tests need, and run them"
	@echo "make docs      the documentation as a site, in site/"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Mulligan needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.testable: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test]"
	@touch $@

demo: install
	$(BIN)/mulligan train digits --minutes 5 --out runs/demo
	$(BIN)/mulligan sample runs/demo -n 100 --out runs/demo/digits.png

test: $(VENV)/.testable
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	$(BIN)/python docs/command_line.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
