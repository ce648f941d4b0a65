# Every target makes .venv first, by itself; nothing outside this folder is changed. `make help` lists them.
PYTHON ?= python3
JOBS ?= auto
BIN := .venv/bin
PY := $(BIN)/python
READY := .venv/.ready
PYTEST := $(BIN)/pytest -q
DOGFOOD := dbsafety runtime docs demo tests/harness
TYPED := dbsafety runtime/dbsafety_runtime docs/generate.py tests/harness

# The current folder is not put on Python's path: it would make `runtime`, `docs` and `tests` importable.
export PYTHONSAFEPATH := 1

.PHONY: help demo test lint types architecture docs docs-check dogfood wheel hooks fix faults soak prove kills roundtrip corpus bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

$(READY): pyproject.toml .ci/venv
	@.ci/venv "$(PYTHON)" .venv
	@touch $@

demo: $(READY) ## the incident code: found, explained, fixed, and both versions run on real databases
	@$(PY) demo/run.py

test: $(READY) ## the test suite (at most 10 minutes on 2 cores)
	@$(PYTEST) -n $(JOBS) --dist loadgroup

lint: $(READY) ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy --strict $(TYPED)

architecture: $(READY) ## layers, cycles, budgets, and the shape of the rules
	@$(PYTEST) tests/contract/test_architecture.py tests/contract/test_rules.py

docs: $(READY) ## write the generated pages
	@PYTHONPATH=. $(PY) docs/generate.py

docs-check: $(READY) ## fail when a generated page is older than its source
	@PYTHONPATH=. $(PY) docs/generate.py --check

dogfood: $(READY) ## our own code under the built wheel: no finding, no suppression
	@$(PYTEST) -m slow tests/contract/test_dogfood.py

wheel: $(READY) ## build, install without extras in a fresh environment, use it
	@$(PYTEST) -m slow tests/contract/test_wheel.py tests/contract/test_plain_install.py

hooks: $(READY) ## the pre-commit hooks and the CI recipes of the docs, on a toy repository
	@$(PYTEST) -m slow tests/contract/test_hooks.py

fix: $(READY) ## format, sort imports, write the generated pages
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .
	@PYTHONPATH=. $(PY) docs/generate.py

faults: $(READY) ## kill, cut and fill under the runtime, on every PostgreSQL of this machine (long)
	@$(PYTEST) -m faults -n $(JOBS) --dist loadgroup --ignore tests/runtime/pg
	@for bin in "" $(wildcard /usr/lib/postgresql/*/bin); do echo "== PostgreSQL $${bin:-of the extra embedded}"; \
	  DBSAFETY_PG_BIN=$$bin $(PYTEST) -m 'not soak' -n $(JOBS) --dist loadgroup tests/runtime/pg || exit; done

soak: $(READY) ## the runtime under load (very long)
	@$(PYTEST) -m soak -o faulthandler_timeout=1200

prove: $(READY) ## the bad and the fixed code on real databases and several interpreters (long)
	@PYTHONPATH=. $(PY) tests/prove/table.py
	@$(PYTEST) -m 'prove or not prove' -n $(JOBS) --dist loadgroup tests/prove/test_pairs.py
	@$(PYTEST) -m prove -n $(JOBS) --dist loadgroup --ignore tests/prove

kills: $(READY) ## `fix` killed at 200 random moments: every file old or new, the next run ends the work (long)
	@$(PYTEST) -s -m slow -o faulthandler_timeout=0 tests/fix/test_kills.py

roundtrip: $(READY) ## all fixes on copies, every promise checked anew: TREES="folder ..." [LABELS=labels.jsonl]
	@test -n "$(TREES)" || { echo 'usage: make roundtrip TREES="folder ..." [LABELS=labels.jsonl]' >&2; exit 2; }
	@PYTHONPATH=. $(PY) tests/fix/roundtrip.py $(TREES) $(if $(LABELS),--labels "$(LABELS)")

corpus: $(READY) ## score findings: LABELS=labels.jsonl (score.py beside it) TREES=folder
	@test -n "$(LABELS)" -a -n "$(TREES)" || { echo 'usage: make corpus LABELS=labels.jsonl TREES=folder' >&2; exit 2; }
	@$(BIN)/dbsafety check --isolated --exit-zero --output-format jsonl "$(TREES)" \
	  | $(PY) "$$(dirname "$(LABELS)")/score.py" - "$(TREES)" --labels "$(LABELS)"

.venv/.bench: $(READY)
	@$(PY) -m pip install -qq --editable '.[bench]'
	@touch $@

bench: .venv/.bench ## every script of benchmarks/, beside the libraries it compares with (long)
	@for script in benchmarks/*.py; do test -e "$$script" || { echo 'benchmarks/ holds no script'; exit 2; }; \
	  echo "== $$script"; $(PY) "$$script" || exit; done

clean: ## remove what the targets made
	@rm -rf .venv build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .dbsafety_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
