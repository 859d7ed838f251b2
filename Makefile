# Every target sets itself up: `make demo`, `make test`, `make bench`, `make lint`, `make types`, `make docs`;
# `make check-cost` counts logic cells, `make check-board` builds boards and simulates a netlist, `make results` measures
# the documents' figures and writes their tables.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The rest of pip's arguments, e.g. a constraint file.
PIP_ARGS ?=
PYTEST_ARGS ?=

.PHONY: demo test check-cost check-board bench bench-core icebreaker icebreaker-seeds results lint types docs clean

demo: $(VENV)/base.stamp
	$(BIN)/tritforge demo

bench: $(VENV)/base.stamp
	$(BIN)/tritforge bench --out build/bench.json

# Without ONLY everything is measured, which takes hours the first time: routing most of them. ONLY="--only streams".
bench-core: $(VENV)/test.stamp
	$(BIN)/tritforge bench-core $(ONLY) --out docs/core.json
	$(BIN)/python -P -m tritforge.host.coretables docs/core.json docs/core.md
	$(BIN)/python -P -m tritforge.host.unitpages docs/core.json docs/units
	$(BIN)/python -P -m tritforge.sim.study docs/dot.json
	$(BIN)/python -P -m tritforge.host.dottables docs/dot.json docs/dot.md

# The text that tiny was trained on is not part of the project: say where it is, as in TINY=stories.txt.
results: $(VENV)/base.stamp
	$(BIN)/tritforge bench micro tiny bard tests/vectors/A $(if $(TINY),--corpus tiny=$(TINY)) --out docs/results.json
	$(BIN)/python -P -m tritforge.host.documents docs/results.json README.md docs/*.md

# One seed, the board's: minutes. icebreaker-seeds routes five, of whose median the clock is at most 90%, and writes
# figures, tables and floor plan of docs/boards.
icebreaker: $(VENV)/board.stamp
	$(BIN)/tritforge build --board icebreaker

icebreaker-seeds: $(VENV)/board.stamp
	$(BIN)/tritforge build --board icebreaker --seeds 5
	$(BIN)/python -P -m tritforge.host.boardtables docs/boards/icebreaker.json docs/boards/ice40.md build/icebreaker

# A file's tests share what they build, so one process runs them all.
test: $(VENV)/test.stamp
	$(BIN)/python -P -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

check-cost: $(VENV)/test.stamp
	$(BIN)/python -P -m pytest -m slow

check-board: $(VENV)/test.stamp
	$(BIN)/python -P -m pytest -m board

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .

# The root of the repository is the package, whatever the folder's name: the type checker finds it through a link.
types: $(VENV)/dev.stamp
	mkdir -p build/types && ln -sfn ../.. build/types/tritforge
	$(BIN)/mypy

docs: $(VENV)/docs.stamp
	$(BIN)/python -m sphinx -W --keep-going -b html docs build/docs

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis $(VENV)

$(VENV)/pip.stamp:
	$(PYTHON) -c 'import sys; sys.exit("tritforge needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/base.stamp: pyproject.toml $(VENV)/pip.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -e .
	touch $@

$(VENV)/%.stamp: pyproject.toml $(VENV)/base.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -e '.[$*]'
	touch $@
