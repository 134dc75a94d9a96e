# What one types here. Needs: a Python 3.11, 3.12 or 3.13, make, and the package registries. Nothing else.
#   make run          install, start skylift, fly examples/quickstart
#   make test         the tests that need nothing from the system
#   make check        format, strict types, the law of layers
#   make PYTHON=...   with a Python of your choice

SHELL := /bin/sh
.DEFAULT_GOAL := help

# A Python with bytecode switched off would compile Airflow anew in every container.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
unexport PYTHONHOME
unexport PYTHONPATH

# The first of these that is 3.11, 3.12 or 3.13; python3 first, because that is the one that you chose.
SUITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c '$(SUITS)' >/dev/null 2>&1 && command -v "$$p" && break; done)

UV = $(shell command -v uv 2>/dev/null || echo .tools/uv/bin/uv)
SYNC = $(UV) sync --frozen --inexact --compile-bytecode --python "$(PYTHON)"
BIN = .venv/bin
# What people are shown must be right where they stand: with make -C they stand elsewhere, and need the whole path.
HERE = $(if $(PWD),$(if $(subst x$(CURDIR),,x$(PWD)),$(CURDIR)/,),)
COMMA = ,
TESTS = tests/unit tests/contract tests/local
# Most tests wait for something more than they compute. The tests of a file share what they started.
WORKERS = 2
# Beside the one in uv.lock; each has its lock in tests/airflow.
AIRFLOWS = 3.1 3.2

.PHONY: help run test check format mutants bench bench-environments bench-localcloud bench-executors docs test-long test-soak test-airflow test-browser test-image clean python tools install install-dev install-airflow install-browser

help: ## Show this.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '%-22s %s\n' "$$name" "$$text"; done

run: install ## Start skylift and run examples/quickstart on it.
	@"$(HERE)$(BIN)/skylift" up examples/quickstart --run

test: install-dev ## The tests: unit, contract, local.
	@$(BIN)/python -m pytest $(TESTS) -m "not long and not soak" -n $(WORKERS) --dist loadfile --durations=15

test-long: install-dev ## What takes longer: crashes, survival, others' executors, operators, AWS CLI, Terraform.
	@$(BIN)/python -m pytest tests/local -m long -n $(WORKERS) --dist loadfile --durations=15

test-soak: install-dev ## Two thousand Airflow tasks, and three kills of the scheduler on the way.
	@$(BIN)/python -m pytest tests/local -m soak -s

test-airflow: install-airflow ## The executors on Airflow 3.1 and 3.2: tests, and a real scheduler of each.
	@$(BIN)/python -m pytest tests/airflow --durations=10

check: install-dev ## Format, lint, strict types, the law of layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit/test_law.py

format: install-dev ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## Measure, and write the figures down.
	$(BIN)/python bench/first_flight.py

bench-localcloud: install-dev ## Measure the local cloud beside plain starts, podman, LocalExecutor, moto ... (30 min; ROWS=start,mapped for some).
	$(BIN)/python bench/localcloud.py $(if $(ROWS),--only $(ROWS))

bench-environments: install-dev ## Measure create, update and delete of environments, UI and DAG runs meanwhile (20 min; ROWS=create,one for some).
	$(BIN)/python bench/environments.py $(if $(ROWS),--only $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-executors: install-dev ## Measure our executors beside the amazon provider's, against AWS's limits (10 min; ROWS=launch,idle for some).
	$(BIN)/python -m bench.executors $(foreach row,$(filter-out --only,$(subst $(COMMA), ,$(ROWS))),--only $(row))

docs: install-dev ## Write the generated pages of docs/.
	$(BIN)/python -m docs.generate

mutants: install-dev ## Plant one-line mistakes in what changed, and tell which no test notices (BASE=main; SAMPLE=200 of all, SEED=1, ROOMS="core wire").
	@nice -n 10 $(BIN)/python -m tools.mutants $(ROOMS) $(if $(BASE),--base $(BASE)) $(if $(SAMPLE),--sample $(SAMPLE)) \
		$(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(LINE),--line $(LINE)) $(if $(TESTS_TOO),--tests-too $(TESTS_TOO))

test-browser: install-browser ## Airflow's UI in Chromium (Debian's package chromium).
	@$(BIN)/python -m pytest tests/browser

test-image: install-dev ## podman: our image from our Dockerfile, and containers of it (Debian's packages: docs/containers.md).
	@$(BIN)/python -m pytest tests/image -o timeout_func_only=true

clean: ## Remove what make made here. State in $$SKYLIFT_HOME stays.
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@test -n "$(PYTHON)" || { echo "skylift needs Python 3.11, 3.12 or 3.13, and none is on the PATH" \
		"($$(python3 --version 2>&1 | head -1)). Install one, or say where it is: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUITS)' 2>/dev/null || { echo "skylift needs Python 3.11, 3.12 or 3.13;" \
		"$(PYTHON) is $$("$(PYTHON)" --version 2>&1 | head -1)." \
		"Say which one to use: make run PYTHON=/path/to/python3.12" >&2; exit 1; }

tools: python
	@command -v uv >/dev/null 2>&1 || tools/bootstrap-uv "$(PYTHON)"

install: tools
	@$(SYNC) --no-dev --extra local --quiet

install-dev: tools
	@$(SYNC) --group dev --extra local --quiet

install-airflow: install-dev
	@for version in $(AIRFLOWS); do \
		UV_PROJECT_ENVIRONMENT="$(CURDIR)/.tools/airflow-$$version" $(UV) sync --frozen --compile-bytecode --quiet \
			--python "$(PYTHON)" --project "tests/airflow/$$version" || exit 1; done

install-browser: tools
	@$(SYNC) --group dev --group browser --extra local --quiet
