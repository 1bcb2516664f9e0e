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

.PHONY: install serve test check bench clean

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

bench: install
	$(BIN)/segserve bench engine --size 360x480
	$(BIN)/segserve bench engine --size 1024x2048

clean:
	rm -rf $(VENV) .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
