# Thin targets: each one is a line that you could type yourself. `make help` lists them.
# Needs python >= 3.11, gcc, g++ and make; everything else is installed into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-full bench bench-quick bench-cpu bench-released numerics bench-training exactness chromium lint lint-verilog types golden clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ternforge needs Python 3.11 or newer, not " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# What the demo needs: no torch, no synthesis tools.
$(VENV)/.demo-installed: $(VENV)/pyvenv.cfg $(INPUTS)
	$(PIP) -e '.[sim]'
	@touch $@

# Everything: what tests, lint, types and the builds need.
$(VENV)/.all-installed: $(VENV)/pyvenv.cfg $(INPUTS)
	$(PIP) -e '.[model,tokenizers,sim,cpu,flow,host,dram,dev,plot,bench,html,sweep]'
	@touch $@ $(VENV)/.demo-installed

venv: $(VENV)/.all-installed  ## Install everything into .venv

demo: $(VENV)/.demo-installed  ## The generated Verilog writes Shakespeare
	@$(BIN)/ternforge demo $(ARGS)

test: $(VENV)/.all-installed  ## The tests that belong before each commit
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

test-full: $(VENV)/.all-installed  ## All tests, also the slow ones (bitstreams for every board)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "" $(ARGS)

bench: $(VENV)/.all-installed  ## Every figure of area, speed and cycles against its limit and its peers
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/.all-installed  ## A part of them in ten minutes
	$(BIN)/python -m bench --quick $(ARGS)

bench-cpu: $(VENV)/.all-installed  ## CPU inference at 370M shapes against PyTorch: memory, speed
	$(BIN)/python bench/cpu.py --least-speed 5 --least-memory 10 $(ARGS)

bench-training: $(VENV)/.all-installed  ## Memory and time of a training step, fused and unfused
	$(BIN)/python bench/training.py $(ARGS)

bench-released: $(VENV)/.all-installed  ## Every verb on a checkpoint of 370M shapes: time, memory, results
	$(BIN)/python bench/released.py $(ARGS)

exactness: $(VENV)/.all-installed  ## 256 tokens per model, prompt and choice, checked bit for bit
	$(BIN)/python bench/exactness.py $(ARGS)

numerics: $(VENV)/.all-installed  ## Quality of the integer model, the table of docs/numerics.md
	$(BIN)/python bench/numerics.py $(ARGS)

chromium:  ## Install Debian's Chromium, which the tests of the report page open
	@sh tests/boards/install-chromium

lint: $(VENV)/.all-installed  ## ruff
	$(BIN)/python -m ruff check .

lint-verilog: $(VENV)/.all-installed  ## verilator --lint-only -Wall on the generated Verilog
	$(BIN)/ternforge verilog --board ulx3s-85f --model shakespeare-85f -o build/lint-verilog
	$(BIN)/python -m ternforge_sim.lint build/lint-verilog

types: $(VENV)/.all-installed  ## pyright
	$(BIN)/python -m pyright --warnings

golden: $(VENV)/.all-installed  ## Rebuild the golden vectors
	$(BIN)/python -m ternforge_model.golden

clean:  ## Remove .venv and build outputs (the cache in ~/.cache/ternforge stays)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
