# SPDX-License-Identifier: Apache-2.0
# Needs: Python >= 3.10 with venv, git, make and, the first time, a network. `make help` says more.

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

# `make demo` installs what the node needs; everything else completes the same .venv. One of the
# two files says that it was done, and holds the path it was done for: a .venv that was copied
# elsewhere is of no use there.
DEMO_DONE := $(VENV)/.setup-demo-done
DONE := $(VENV)/.setup-done
UNFINISHED := $(VENV)/.setup-unfinished
$(DEMO_DONE): WHAT := what the demo needs (0.7 GB)
$(DEMO_DONE): PIP_OPTIONS := --no-compile --editable '.[ros,openvino]'
$(DONE): WHAT := everything (several GB with PyTorch; it takes minutes)
$(DONE): PIP_OPTIONS := --editable '.[ros,train,onnx,openvino,dev]'

# A worker takes its share in files, and then from those that have most left. `-n 0` in ARGS runs
# the tests in one process, which a debugger needs.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist worksteal

# Python start-up of the ROS wheels leaves these behind; they belong to one environment only.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

# Two makes at once (say `make demo` and `make test`) must not install into one folder together.
LOCKED := $(if $(shell command -v flock),flock .setup-lock)

.DEFAULT_GOAL := help
.PHONY: help setup setup-demo check-place demo test test-cpus check format docs stress bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 20

setup: check-place  ## make .venv with everything the tests and training need
	@$(LOCKED) $(MAKE) --silent --no-print-directory $(DONE)

# A .venv that has been complete stays so.
setup-demo: check-place
	@$(LOCKED) $(MAKE) --silent --no-print-directory \
	  $$([ -e $(DONE) ] && echo $(DONE) || echo $(DEMO_DONE))

check-place:
	@for done in $(DONE) $(DEMO_DONE); do \
	  if [ -e $$done ] && ! { [ "$$(cat $$done)" = '$(CURDIR)' ] && $(BIN)/python -c ''; }; then \
	    mv $$done $(UNFINISHED); fi; done

# pip downloads everything before it installs anything: when it reports a failure, nothing was
# changed and an environment that was good still is. When it was killed, start afresh.
$(DONE) $(DEMO_DONE): Makefile package.xml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and f"error: \
	$(PYTHON) is Python {sys.version.split()[0]}, depth_ros needs 3.10 or newer; \
	name one: make setup PYTHON=python3.11")'
	@if [ -e $(UNFINISHED) ]; then echo 'The last setup did not finish: making .venv afresh.'; fi
	@if [ -e $(UNFINISHED) ] || [ ! -x $(BIN)/python ]; then $(PYTHON) -m venv --clear $(VENV); fi
	@echo 'Installing into $(VENV) $(WHAT).'
	@trap 'exit 130' INT; trap 'exit 143' TERM; \
	former=$$(ls $(DONE) $(DEMO_DONE) 2> /dev/null); \
	if [ -n "$$former" ]; then mv "$$former" $(UNFINISHED); else touch $(UNFINISHED); fi; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) \
	  --constraint constraints.txt $(PIP_OPTIONS) \
	  || { [ -z "$$former" ] || mv $(UNFINISHED) "$$former"; exit 1; }
	@printf '%s' '$(CURDIR)' > $(UNFINISHED)
	@mv $(UNFINISHED) $@

# The live camera renders with PyTorch.
demo: $(if $(findstring --live,$(ARGS)),setup,setup-demo)  ## play a recording through mono_depth: a live table, then a picture
	@$(BIN)/python -m depth_ros.demo $(ARGS)

test: setup  ## run the tests, as many as there are cores at a time (ARGS='-k name' chooses)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-cpus: setup  ## run the numeric tests as other processors would compute them
	@$(BIN)/python -m test.processors $(ARGS)

check: setup  ## ruff, mypy and the tests of the architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q test/architecture

format: setup  ## let ruff format the code and mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup  ## renew the tables of the docs and the file of the node's parameters from the code
	@$(BIN)/python -m depth_ros.parameters --yaml > .setup-parameters
	@mv .setup-parameters config/mono_depth.yaml
	@{ sed '/^| parameter/,$$d' docs/parameters.md; $(BIN)/python -m depth_ros.parameters; } > .setup-parameters
	@mv .setup-parameters docs/parameters.md
	@$(BIN)/python -m test.packaging.data_table
	@{ sed '/^## The families/,$$d' docs/models.md; $(BIN)/python -m depth_core.models; } > .setup-models
	@mv .setup-models docs/models.md
	@{ sed '/^## Known graphs/,$$d' docs/foreign_models.md; \
	  $(BIN)/python -m depth_core.presets --markdown; } > .setup-presets
	@mv .setup-presets docs/foreign_models.md
	@$(BIN)/python -m test.packaging.engine_tables
	@$(BIN)/python -m test.packaging.licences

stress: setup  ## attack the package: hostile files, kills (half an hour), then the node under stress
	@$(BIN)/python -m test.security $(ARGS)
	@$(BIN)/python -m depth_ros.stress

bench: setup  ## measure speed; not part of the tests
	@$(BIN)/python -m pytest test/benchmarks $(ARGS)

clean:  ## remove everything made here, .venv too
	rm -rf $(VENV) .setup-lock build install log dist demo_output .benchmarks .hypothesis \
	  .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
