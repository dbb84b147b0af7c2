# Everything a person or a machine does with this checkout. Nothing here needs root, and nothing is installed
# on the system: Python packages go to .venv, programs of Debian to .tools, npm packages to tests/npm.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CONFIG ?= examples/residents/troth.toml
ARGS ?=

export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.venv/bin:$(PATH)
export NODE_USE_SYSTEM_CA := 1
# The node that Playwright brings along wants a library which a bare Debian lacks; the wheel's does not.
export PLAYWRIGHT_NODEJS_PATH := $(CURDIR)/.tools/bin/node

UV_COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-config --upgrade --quiet
DJANGO_TOOLKIT := bench/peers/django_toolkit
SSLYZE := tests/peers/sslyze

title = @printf '\n\033[1m== %s\033[0m\n' '$(1)'

.PHONY: help up down venv etcd openssl pebble certutil curl chromium ip nft h2load faketime sslyze npm test lint types unit format chaos chaos-short bench lock clean

help: ## This list
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 33

up: venv etcd ## Start the platform with the example; ARGS="--members 1" for a small machine
	@exec .venv/bin/troth up --config $(CONFIG) $(ARGS)

down: venv ## Stop it
	@exec .venv/bin/troth down $(ARGS)

test: lint types unit ## Everything that has to be green: format, lint, types, tests

lint: venv ## Format and lint, as a check
	$(call title,format)
	@ruff format --check .
	$(call title,lint)
	@ruff check .

types: venv npm ## Types, strict
	$(call title,types)
	@node tests/npm/node_modules/pyright/index.js

unit: venv etcd openssl pebble certutil curl chromium ip nft sslyze npm ## The tests; ARGS="tests/core -k name" for some of them
	$(call title,tests)
	@pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

format: venv ## Format, and repair what can be repaired, the pages read from the source included
	@ruff check --fix .
	@ruff format .
	@python tools/pages.py

chaos: venv etcd openssl pebble certutil curl chromium ip nft faketime npm ## Kill processes under load, many rounds
	$(call title,chaos)
	@pytest -m chaos --timeout 3600 $(ARGS)

chaos-short: venv etcd openssl pebble certutil curl chromium ip nft faketime npm ## The same, one round of each fault
	$(call title,chaos, one round)
	@TROTH_CHAOS_ROUNDS=1 pytest -m chaos --timeout 900 $(ARGS)

bench: venv etcd h2load npm ## Measure against peers, as ratios
	@python -m bench $(ARGS)

venv: .venv/made-from.json ## The Python environment, from the hash-pinned lock

.venv/made-from.json: requirements-dev.lock pyproject.toml
	@$(PYTHON) tools/environment.py && touch $@

etcd openssl pebble certutil curl chromium ip nft h2load faketime: venv ## Programs of Debian's, unpacked unless the system has it
	@python tools/debian.py $@

sslyze: $(SSLYZE)/.venv/pyvenv.cfg ## A scanner of TLS, in an environment of its own: it wants an older `cryptography`

$(SSLYZE)/.venv/pyvenv.cfg: $(SSLYZE)/requirements.lock .venv/made-from.json
	@python tools/peer.py $(SSLYZE)

npm: tests/npm/node_modules/.package-lock.json ## Node and the npm packages that the tests use

tests/npm/node_modules/.package-lock.json: tests/npm/package-lock.json .venv/made-from.json
	@python tools/node.py
	@cd tests/npm && npm ci --loglevel error && touch node_modules/.package-lock.json

lock: venv ## Resolve anew and write both lock files and the npm lock
	@$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	@$(UV_COMPILE) pyproject.toml --extra dev --output-file requirements-dev.lock
	@for place in $(DJANGO_TOOLKIT) $(SSLYZE); do $(UV_COMPILE) $$place/requirements.in --output-file $$place/requirements.lock; done
	@for place in tests/npm bench/peers/oidc_provider; do (cd $$place && npm install --package-lock-only --loglevel error); done

clean: ## Remove what make has made; never the state folder
	@rm -rf .venv .tools tests/npm/node_modules tests/peers/*/.venv bench/peers/*/.venv bench/peers/*/node_modules .pytest_cache .ruff_cache build dist src/*.egg-info
