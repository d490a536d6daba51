# Loralloy: everything a contributor types. `make` alone prints this list.
#   PYTHON=…  the interpreter the virtual environment is made of (3.11 or 3.12)
#   ARGS=…    options handed on: make serve ARGS="--port 8001", make test ARGS="-k gates"
#   DATA=…    folder of the training data, for `make demos` and `make lori`
#   SOAK_MINUTES=…  of each part of `make soak` that has no end; ARGS="chaos memory": these parts alone

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/requirements.lock
SERVING := $(VENV)/.serving
INSTALLED := $(VENV)/.installed
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python; do \
	"$$p" -c '$(SUPPORTED)' 2>/dev/null && { echo "$$p"; break; }; done)
# Where bytecode is not kept, every process compiles vLLM's thousands of files anew: half a minute each.
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=
DATA ?=
SOAK_MINUTES ?= 10
# A terminal gets pip's progress bars; a CI log does not.
PIP := $(BIN)/python -m pip --disable-pip-version-check $(if $(CI),--quiet)

export PIP_ROOT_USER_ACTION := ignore
export PIP_PROGRESS_BAR := $(if $(CI),off,on)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[36m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(INSTALLED) ## Make the whole virtual environment: serving, training, tests, checks

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or 3.12 is needed and none was found:" \
	  "install it or name it, as in: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "$(PYTHON) is not Python 3.11 or 3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual" \
	  "environment: on Debian, install python3-venv" >&2; exit 1; }

# What serving needs. Two at a time, since unpacking keeps one core busy; torch stands alone, so that its
# absence is told apart from every other trouble. Nothing is compiled to bytecode before it is imported.
$(LOCKED): requirements.lock | $(BIN)/python
	@torch="$$(grep '^torch==' requirements.lock)"; \
	grep -v '^torch==' requirements.lock > $(VENV)/others.lock; \
	$(PIP) install --no-deps --no-compile -r $(VENV)/others.lock & others=$$!; \
	trap 'kill $$others 2>/dev/null || true' EXIT; \
	$(PIP) install --no-deps --no-compile "$$torch" || { \
	  echo; echo "pip could not install $$torch, the CPU build of PyTorch. If it was not found: the" \
	  "usual index does not carry it."; echo "Add PyTorch's CPU wheel index to pip's" \
	  "configuration (extra-index-url or find-links), then run make again."; exit 1; } >&2; \
	wait $$others
	@cp requirements.lock $@

$(SERVING): $(LOCKED) pyproject.toml
	$(PIP) install --no-deps --no-build-isolation --quiet -e .
	@touch $@

$(INSTALLED): $(SERVING) requirements.dev.lock
	$(PIP) install --no-deps --no-compile -r requirements.dev.lock
	@touch $@

.PHONY: prepare
prepare: $(SERVING) ## Put the default base model and encoder into the cache folder
	@$(BIN)/python -m server.prepare

.PHONY: serve
serve: $(SERVING) ## Start the server (ARGS="--port 8001 --dtype float32")
	@$(BIN)/loralloy serve $(ARGS)

.PHONY: test
test: venv ## Run the tests (ARGS="-k router" picks some; ARGS="-n 0" makes one process of two)
	@$(BIN)/python -m tools.test_needs
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10 $(ARGS)

.PHONY: soak
soak: venv ## An hour more of testing: chaos, fuzzing, the schema, a thousand adapters, memory
	$(BIN)/python -m tests.soak --minutes $(SOAK_MINUTES) $(ARGS)

.PHONY: mutants
mutants: venv ## Change the code in small ways and see what no test notices (ARGS=gates: that package alone)
	@$(PIP) install --quiet --no-deps -r requirements.mutants.lock
	$(BIN)/python -m tools.mutants $(ARGS)

.PHONY: check
check: lint types imports docs docker-lint test ## Everything CI checks

.PHONY: fmt
fmt: venv ## Format the code and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: venv ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: types
types: venv ## Check types (mypy --strict)
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 clients/python/src

.PHONY: imports
imports: venv ## Check who imports whom
	PYTHONPATH=clients/python/src $(BIN)/lint-imports --no-logo
	PYTHONPATH=clients/python/src $(BIN)/python -m tools.import_cycles

.PHONY: docs
docs: venv ## Check links, anchors and figures of the documentation
	$(BIN)/python -m tools.docs_check
	$(BIN)/python -m tools.figures

.PHONY: docker-lint
docker-lint: venv ## Check the Dockerfiles and compose.yaml
	$(BIN)/hadolint docker/Dockerfile docker/Dockerfile.cuda
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml

.PHONY: bench
bench: venv ## Measure against the engine without LoRA and stock LoRA
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-tle
bench-tle: venv ## Measure token scope against the LoRA-TLE reference loop
	@$(BIN)/python -m benchmarks.tle $(ARGS)

.PHONY: bench-neighbour
bench-neighbour: venv ## Measure decoding beside a program that keeps a core busy
	@$(BIN)/python -m benchmarks.neighbour $(ARGS)

.PHONY: bench-mixtures
bench-mixtures: venv ## Measure what mixtures cost of base requests (ARGS="--beside FOLDER": another checkout's, too)
	@$(BIN)/python -m benchmarks.mixtures $(ARGS)

.PHONY: bench-start
bench-start: venv ## Measure starts, first answers and stops (ARGS="--beside FOLDER": another checkout's, too)
	@$(BIN)/python -m benchmarks.start $(ARGS)

.PHONY: fairness
fairness: venv ## Measure what one key's worst requests do to another key, and to /health
	@$(BIN)/python -m benchmarks.fairness $(ARGS)

.PHONY: demos
demos: venv ## Train the four demo adapters again (DATA=folder of JSONL files)
	@if [ -z "$(DATA)" ]; then echo "say where the data lies: make demos DATA=folder" >&2; exit 1; fi
	@BIN=$(BIN) tools/make_demos.sh "$(DATA)" $(ARGS)

.PHONY: lori
lori: venv ## Train and measure the small LoRI study (DATA=folder of JSONL files; ARGS=-j2: two at once)
	@if [ -z "$(DATA)" ]; then echo "say where the data lies: make lori DATA=folder" >&2; exit 1; fi
	@$(MAKE) --no-print-directory -f tools/lori_study/study.mk BIN=$(BIN) DATA="$(DATA)" $(ARGS)

.PHONY: clean
clean: ## Remove the virtual environment and every cache of the tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info \
	  clients/python/.ruff_cache clients/python/build clients/python/src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
