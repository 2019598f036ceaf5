# Two commands: `make run` and `make test`; `make install` for the command marey alone. Each makes its own virtual environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# What `make test` installs; with `train`, the tests of the training run too (PyTorch is large).
EXTRAS ?= boards,dev

# What to type next, for people: the command is in the virtual environment, which `make` has not entered for them.
NEXT := now: source $(BIN)/activate; then: marey --help

.DEFAULT_GOAL := help
.PHONY: help install run smollm2 test test-slow proof mutants gates bench performance cost bitstreams train screenshot docs site lint clean

help:
	@echo "make install    install the command marey in $(VENV), and say how to call it"
	@echo "make run        tell a story on the simulated tile"
	@echo "make smollm2    a language model of 135 million weights answers on a simulated LPU: fetches 93 MB, minutes"
	@echo "make test       every test but the slow ones, cocotb included"
	@echo "make test-slow  the tests that take minutes"
	@echo "make proof      prove that no cycle depends on data, and what the link lets through: docs/proof.md"
	@echo "make mutants    plant small faults, see which the tests find, and write docs/mutants.md: hours"
	@echo "make gates      drawn programs on the netlist of a small tile of each FPGA family, beside the emulator: minutes"
	@echo "make bench      matrix products on the tile, cycles and utilisation"
	@echo "make performance  cycles, tokens a second and CPU seconds, beside an earlier commit's: minutes"
	@echo "make cost       what the tile costs on an ECP5, and its clock: synthesis, place and route, minutes"
	@echo "make bitstreams  all boards' bitstreams, and docs/boards.md of what they take: half an hour"
	@echo "make train      train the default model anew: PyTorch, and half an hour"
	@echo "make screenshot docs/timetable.png, of stories260K's timetable, by a headless Chromium"
	@echo "make docs       docs/instructions.md and docs/cycles.md, from layouts and latencies"
	@echo "make site       the documentation site, in build/site"
	@echo "make lint       ruff"
	@echo "make clean      remove the virtual environment and everything built"

# The environments: one for use, one with what the tests need on top.
$(VENV)/use: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Marey needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 2; }
	@echo "making the virtual environment in $(VENV) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/with-$(EXTRAS): pyproject.toml $(VENV)/use
	@echo "adding what the tests need ..." >&2
	@$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

install: $(VENV)/use
	@echo '$(NEXT)' >&2

run: $(VENV)/use
	@$(BIN)/marey generate "Once upon a time, there was a little girl named Lily."
	@echo >&2
	@echo '$(NEXT)' >&2

smollm2: $(VENV)/use
	@$(BIN)/marey generate "What is the capital of France?" --model smollm2 --chat --config lpu16x16

bench: $(VENV)/use
	@$(BIN)/marey bench

performance: $(VENV)/with-$(EXTRAS)
	@$(BIN)/python -m marey.boards.performance

# Each process takes tests that follow one another, because those of a file share simulators and programs.
test: $(VENV)/with-$(EXTRAS) lint
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

test-slow: $(VENV)/with-$(EXTRAS)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow

proof: $(VENV)/use
	@$(BIN)/python -m pip install --quiet --editable '.[proof]'
	@$(BIN)/python -m tests.formal --jobs $(JOBS)

mutants: $(VENV)/with-$(EXTRAS)
	@$(BIN)/python -m tests.mutants --jobs $(JOBS)

gates: $(VENV)/with-$(EXTRAS)
	@$(BIN)/python -m tests.programs.gates

cost: $(VENV)/with-$(EXTRAS)
	@$(BIN)/python -m marey.boards.cost -o boards/costs.json

bitstreams: $(VENV)/with-$(EXTRAS)
	@$(BIN)/python -m marey.boards.bitstreams

train: $(VENV)/use
	@$(BIN)/python -m pip install --quiet --editable '.[train]'
	@mkdir -p build
	@$(BIN)/python -m marey.sw.train -o build/stories.gguf --log build/stories.json

# A token in its middle, and the tile in that cycle; measured, so that the picture says that it is as planned.
STORIES ?= ../shared/models/stories260K.bin
BROWSER ?= chromium
screenshot: $(VENV)/use
	@mkdir -p build
	@$(BIN)/marey timetable $(STORIES) --position 127 --measure -o build/timetable.html
	@$(BROWSER) --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1500,1000 --virtual-time-budget=4000 \
		--screenshot=docs/timetable.png "file://$(CURDIR)/build/timetable.html#cycle=1500&scale=0.55" 2>/dev/null

docs: $(VENV)/use
	@$(BIN)/python -m marey.hdl.manual > docs/instructions.md
	@$(BIN)/python -m marey.hdl.cycles > docs/cycles.md

site: $(VENV)/use
	@$(BIN)/python -m pip install --quiet --editable '.[site]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict -f site/mkdocs.yml
	@echo "open build/site/index.html" >&2

lint: $(VENV)/with-$(EXTRAS)
	@$(BIN)/ruff check .

clean:
	rm -rf $(VENV) build sim_build *.egg-info
