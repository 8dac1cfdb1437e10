# Everything runs in .venv, which the first target builds. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERL := .venv-verl
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PHOTOS ?= data/photos

OUT ?= runs/train
SEEDS ?= 1
SEED_NUMBERS = $(shell seq 0 $$(($(SEEDS) - 1)))

# Modules and tests are kept compiled even where the environment says not to: compiling them takes a worker half as long
# as collecting, and every program, actor and notebook that the tests start would compile the packages again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: train train-v2 demo test test-fast test-integration lint types docs test-docs test-slow test-trl test-verl fuzz
.PHONY: test-learning bench dist clean

train: $(VENV)/.train  ## a tiny policy learns to zoom: curves, and a page with the same questions before and after
	$(BIN)/deepeyes train out=$(OUT) --overwrite

train-v2: $(VENV)/.train-v2  ## DeepEyesV2 in miniature: a cold start, then the tiny policy learns which program or search to use
	export DEEPEYES_SEARCH=$(OUT)-v2/facts; set -e; for seed in $(SEED_NUMBERS); do \
		$(BIN)/deepeyes build-tiny --code --seed $$seed --out $(OUT)-v2/cold-$$seed; \
		$(BIN)/deepeyes train --config tiny_v2 seed=$$seed model=$(OUT)-v2/cold-$$seed out=$(OUT)-v2/run-$$seed --overwrite; \
	done
	$(BIN)/python benchmarks/learned_tools.py $(addprefix $(OUT)-v2/run-,$(SEED_NUMBERS))

demo: $(VENV)/.demo  ## oracle and blind agent on the built-in task and on real photographs: table and page
	$(BIN)/python examples/demo.py --photos $(PHOTOS)

# Whole commands, Ray, browsers and training runs take most of the time of the tests that are not slow.
PYTEST_PARALLEL := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: $(VENV)/.test lint  ## linter, type checker, all fast tests
	$(MAKE) --no-print-directory -j2 types test-fast  # the type checker takes one core for a minute

test-fast: $(VENV)/.test
	$(PYTEST_PARALLEL) -m "not (slow or docs or integration or ray or browser)"

test-integration: $(VENV)/.test  ## whole commands, Ray, browsers, training runs of seconds
	$(PYTEST_PARALLEL) -m "(integration or browser) and not (slow or docs or ray)"
	$(BIN)/python -m pytest -m "ray and not (slow or docs)"  # in one process, which starts Ray once

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

docs: $(VENV)/.docs  ## the documentation as a site in site/; a broken link or an unresolved name fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test-docs: $(VENV)/.test $(VENV)/.docs  ## tutorials, code blocks, command lines, the site
	$(BIN)/python -m pytest tests/docs

test-slow: $(VENV)/.test  ## model servers, wheel and sdist: environments of their own, kept in DEEPEYES_TEST_CACHE
	$(BIN)/python -m pytest -m "slow and not learning and not docs"

test-trl: $(VENV)/.test  ## steps of TRL's GRPOTrainer: environments of their own, kept in DEEPEYES_TEST_CACHE
	$(BIN)/python -m pytest -m slow tests/trl

test-verl: $(VERL)/.test  ## training inside verl 0.9.1 on this machine's CPU, in an environment of its own: about an hour
	PYTHONPATH=tests/servers/site $(VERL)/bin/python -m pytest tests/verl

fuzz: $(VENV)/.test  ## a million mutated messages, in threads and over Ray: hours; goes on where it was ended
	$(BIN)/python -m tests.envs.fuzz

test-learning: $(VENV)/.test  ## whole training runs, and the policies that are built for them
	$(BIN)/python -m pytest -m learning

bench: $(VENV)/.bench  ## ratios measured side by side; writes benchmarks/results/
	$(BIN)/python benchmarks/env_step.py
	$(BIN)/python benchmarks/agent_requests.py
	$(BIN)/python benchmarks/grpo_throughput.py
	$(BIN)/python benchmarks/sandbox.py

dist: $(VENV)/.release  ## wheel and sdist in dist/, checked
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python setup.py constraints.txt
	$(PIP_INSTALL) --editable '.[cli,data]' scikit-image
	touch $@

$(VENV)/.train: $(BIN)/python setup.py constraints.txt
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable '.[train]'
	touch $@

$(VENV)/.train-v2: $(VENV)/.train
	$(PIP_INSTALL) --editable '.[train,sandbox]'
	touch $@

# torch comes first and alone: a resolver that sees it among other packages may choose a build with CUDA.
$(VENV)/.test: $(BIN)/python setup.py constraints.txt
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable '.[test]'
	touch $@

# verl has constraints of its own. Its wheel brings its tests along as a package that would stand before ours.
$(VERL)/.test: setup.py tests/verl/constraints.txt
	$(PYTHON) -m venv $(VERL)
	$(VERL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/verl/constraints.txt torch
	$(VERL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/verl/constraints.txt \
		--editable '.[train,data,verl,openai]' hypothesis pytest pytest-timeout
	$(VERL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps torchvision==0.28.0 dashscope==1.14.1
	rm -rf $(VERL)/lib/python3*/site-packages/tests
	touch $@

$(VENV)/.docs: $(BIN)/python setup.py constraints.txt
	$(PIP_INSTALL) --editable '.[docs]'
	touch $@

$(VENV)/.release: $(BIN)/python setup.py constraints.txt
	$(PIP_INSTALL) --editable '.[release]'
	touch $@

$(VENV)/.bench: $(BIN)/python setup.py constraints.txt
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) $(VERL) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
