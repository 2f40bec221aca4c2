# Needs git, make and Python 3.11 or newer; everything else is fetched into .tools and .venv.

PYTHON ?= python3
# A page's blocks, and a module's fixtures, belong to one process.
PYTEST_FLAGS ?= -n 2 --dist loadfile

UV := $(or $(shell command -v uv),.tools/bin/uv)
READY := .venv/.ready
RUN := .venv/bin

# uv finds a fitting Python by itself; one named by the user is obeyed.
CHOSEN_PYTHON := $(if $(filter file,$(origin PYTHON)),,--python "$(PYTHON)")

export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV
MAKEFLAGS += --no-print-directory

.PHONY: help setup demo test check bench soak schema site clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(READY) ## make the environment in .venv
	@:

demo: $(READY) ## run every example against a database and a server of their own
	@$(RUN)/python -m examples.demo

test: $(READY) ## run every test; DATABASE_URL names another database than the embedded one
	@$(RUN)/pytest $(PYTEST_FLAGS)

check: $(READY) ## lint, format, types, layers, SQL
	@$(RUN)/ruff check --quiet
	@$(RUN)/ruff format --check --quiet
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo
	@$(RUN)/sqlfluff lint --processes 1 --quiet src/reference_server/sql

bench: $(READY) ## measure; BENCH="p5 p6 --rounds 9" measures some
	@$(RUN)/python -m benchmarks $(BENCH)

soak: $(READY) ## run the tests with many more examples and faults; takes long
	@CREDITS_TEST_PROFILE=soak $(RUN)/pytest $(PYTEST_FLAGS)

schema: $(READY) ## write src/reference_server/sql/schema.sql anew
	@$(RUN)/python -m reference_server.schema_dump

site: $(READY) ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet

clean: ## remove what was made here, but for data in .data
	@rm -rf .venv .tools dist site tests/peers/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(READY): pyproject.toml uv.lock | $(UV)
	@echo "Making .venv; the first time takes a minute"
	@"$(UV)" sync --quiet --frozen --all-extras $(CHOSEN_PYTHON)
	@touch $@

# An older pip does not read SSL_CERT_FILE by itself.
.tools/bin/uv:
	@echo "Fetching uv into .tools"
	@"$(PYTHON)" -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check \
		$(if $(SSL_CERT_FILE),--cert "$(SSL_CERT_FILE)") uv
