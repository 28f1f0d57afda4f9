# Each target sets up .venv by itself, once; a change of pyproject.toml or of constraints.txt sets it up again.
#
#   make setup    .venv with both commands and all that developing needs; then  . .venv/bin/activate
#   make demo     pack for an ARM board, run the bundle here, compare host with device
#   make test     the tests (minutes, 2 cores, no GPU, no network but the first set-up)
#   make test-device    the tests on two emulated aarch64 boards: needs root, a Debian and its network, else skips
#   make test-cuda    those that need a GPU; with onnxruntime-gpu in .venv those of ONNX too
#   make lint     ruff and mypy --strict
#   make schema   write docs/report.schema.json from the types of a report
#   make bench    ratios of our own cost against the obvious alternative, what the runner needs, and what a board needs
#   make bench-peers     the bundle's choice against the fastest of all peers, fourteen networks (hours; goes on where stopped)
#   make bench-errors    how often a difference is found that is not there, and one that is (an hour)
#
# Without a GPU, PyTorch's CPU builds save 4 GB:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
PEERS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := out/demo
# A file's tests stay together: they share what they have trained.
PARALLEL := -n 2 --dist loadfile

.PHONY: setup demo test test-slow test-device test-cuda lint format schema bench bench-peers bench-errors clean

setup: $(READY)

demo: $(READY)
	$(BIN)/pack --target arm-qnnpack --output $(DEMO)
	$(BIN)/bench-runner $(DEMO)/wide_cnn-arm-qnnpack.edgepack --output $(DEMO)/device.json
	$(BIN)/bench-runner compare $(DEMO)/wide_cnn-arm-qnnpack.edgepack $(DEMO)/device.json

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not device" $(PARALLEL)

test-slow: $(READY)
	$(BIN)/python -m pytest -m "not device" $(PARALLEL)

test-device: $(READY)
	$(BIN)/python -m pytest -m device tests/device

test-cuda: $(READY)
	$(BIN)/python -m pytest -m cuda -rs

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: $(READY)
	$(BIN)/python -m runner.schema

bench: $(READY)
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.call_overhead
	$(BIN)/python -m benchmarks.cost
	$(BIN)/python -m benchmarks.board

# Each peer in an environment of its own, made once under out/peers; PEERS="--python PYTHON" names one that exists.
bench-peers: export TORCH_INDEX := $(TORCH_INDEX)
bench-peers: $(READY)
	$(BIN)/python -m benchmarks.peers --results docs/results.md $(PEERS)
	$(BIN)/python -m benchmarks.peers.memory
	$(BIN)/python -m benchmarks.peers.pack_time

bench-errors: $(READY)
	$(BIN)/python -m benchmarks.error_rates

clean:
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgepack needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch torchvision
	$(PIP) --editable '.[all,test]'
	touch $@
