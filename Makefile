# The two commands of a fresh machine are `make serve` and `make test`; each installs what it needs first.
PYTHON ?= python3
# Where pip finds torch. On a machine whose pip would take a CUDA build and that has no GPU:
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cpu
# For a CUDA build, name its index in the same way (.../whl/cu130).
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
SERVE_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: install serve test check prove-scheduler bench bench-scheduling bench-servers clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[dev]'
	touch $@

serve: install
	$(BIN)/segserve serve $(SERVE_ARGS)

test: install
	$(BIN)/pytest --cov --cov-report=term $(TEST_ARGS)

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The same as in the tests, fifty times as often.
prove-scheduler: install
	SCHEDULER_CASES=100000 $(BIN)/pytest --timeout 3600 $(TEST_ARGS) tests/service/scheduling/test_scheduler_properties.py

bench: install
	$(BIN)/segserve bench engine --size 360x480
	$(BIN)/segserve bench engine --size 1024x2048

bench-scheduling: install
	$(BIN)/python -m loadtests.scheduling --repeat 5 --out runs/scheduling $(BENCH_ARGS)

bench-servers: install
	$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(BIN)/python -m loadtests.rivals.install
	$(BIN)/python -m loadtests.servers --repeat 5 --out runs/servers $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(VENV)-rivals .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
