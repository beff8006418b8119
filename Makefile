# SPDX-License-Identifier: Apache-2.0
# A menu: each target is one command. The first use of any target makes .venv (a minute or two).

PYTHON ?= python3
PRESET ?= tiny
OUT ?= build/verilog/$(PRESET)
COMPONENT ?=
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-full verilog sim compare synth doctor presets lint formal train clean

help: ## Print this menu
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/ready ## Have the RTL write text with the trained model, in Verilator (minutes)
	$(BIN)/tritforge demo $(ARGS)

test: .venv/ready ## Run the tests (about half an hour on two cores)
	$(BIN)/pytest -n auto --dist worksteal -m "not slow and not board" $(ARGS)

test-full: .venv/ready ## Run every test that needs no board, the slow ones too
	$(BIN)/pytest -n auto --dist worksteal -m "not board" $(ARGS)

verilog: .venv/ready ## Write Verilog and manifest for PRESET= to OUT=
	$(BIN)/tritforge verilog --preset $(PRESET) --out $(OUT) --force $(ARGS)

sim: .venv/ready ## Run the benches, or those of COMPONENT=
	$(BIN)/tritforge sim $(COMPONENT) $(ARGS)

compare: .venv/ready ## Compare the accelerator's cycles with a GPU's measured ones
	$(BIN)/tritforge compare $(ARGS)

synth: .venv/ready ## Count the LUTs of the array of PRESET=
	$(BIN)/tritforge synth array --preset $(PRESET) $(ARGS)

doctor: .venv/ready ## List the tools, and how to mend what is missing
	$(BIN)/tritforge doctor $(ARGS)

presets: .venv/ready ## List the named configurations
	$(BIN)/tritforge presets $(ARGS)

lint: .venv/ready ## Check style and types
	$(BIN)/ruff check . && $(BIN)/mypy

formal: .venv/ready ## Prove cache, buses and sequencer, and see planted bugs break them (minutes)
	$(BIN)/python -m sim.formal

train: .venv/ready-train ## Train the demo model (ARGS= are passed on)
	$(BIN)/tritforge train $(ARGS)

clean: ## Remove everything that make has made
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv: once, a minute or two"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[sim,fpga,dev]'
	@touch $@

.venv/ready-train: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train]'
	@touch $@
