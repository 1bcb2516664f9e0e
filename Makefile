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
IMAGES_ARGS ?=
COMPOSE_ARGS ?=

.PHONY: install serve test coverage check audit images judges prove-batch prove-compilation prove-compose prove-scheduler prove-torchserve \
	bench bench-autoscaling bench-http bench-labeling bench-networks bench-scheduling bench-servers clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[dev]'
	touch $@

serve: install
	$(BIN)/segserve serve $(SERVE_ARGS)

# Two at a time, but for those that tests/conftest.py keeps apart.
test: install
	$(BIN)/pytest --numprocesses 2 --dist loadgroup $(TEST_ARGS)

# The tests with the branches that they took; it takes a quarter longer.
coverage: install
	$(BIN)/pytest --cov --cov-report=term $(TEST_ARGS)

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known holes in what is installed (where advisories can be reached), and build/sbom.json.
audit: install
	.ci/audit

# Builds, runs and measures the images; needs root, buildah and debootstrap: apt-get install buildah debootstrap
images: install
	$(BIN)/python -m loadtests.containers $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(IMAGES_ARGS)

# The same as in the tests, fifty times as often.
prove-scheduler: install
	SCHEDULER_CASES=100000 $(BIN)/pytest --timeout 3600 $(TEST_ARGS) tests/service/scheduling/test_scheduler_properties.py

# The same as in the tests, for every network that there is.
prove-compilation: install
	COMPILED="$$($(BIN)/python -c 'from models.zoo.registry import ARCHITECTURES; print(*ARCHITECTURES)')" \
		$(BIN)/pytest --timeout 3600 $(TEST_ARGS) tests/models/engine/test_compilation.py tests/models/zoo/test_registry.py

# docker/compose.yaml by a Docker engine with Compose, built, asked and stopped at work; loadtests/containers/compose.py says what it takes.
prove-compose: install
	$(BIN)/python -m loadtests.containers.compose $(COMPOSE_ARGS)

# 20,000 photos and 30 kills; the same in a Ray cluster; and the memory of 200,000 rows beside that of 2,000.
prove-batch: install
	BATCH_PHOTOS=20000 BATCH_KILLS=30 BATCH_WORKERS=2 BATCH_RAY_PHOTOS=2000 \
	  $(BIN)/pytest --timeout 7200 $(TEST_ARGS) tests/labeling/test_kills.py tests/labeling/runners/test_ray.py
	$(BIN)/python -m loadtests.labeling_memory

# Other tools' readers, an environment of their own, which the tests of the exports ask where it is there.
judges: $(VENV)-judges/.installed

$(VENV)-judges/.installed: tests/labeling/exports/judges.txt
	$(PYTHON) -m venv $(VENV)-judges
	$(VENV)-judges/bin/pip install --quiet --requirement tests/labeling/exports/judges.txt
	touch $@

# The same as in the tests, three times in a row and with longer stops; prints the recovery times.
prove-torchserve: install
	TORCHSERVE_ROUNDS=3 TORCHSERVE_STOP_S=10 $(BIN)/pytest --timeout 900 $(TEST_ARGS) tests/service/backends/torchserve

# What the engine is compared with, in its own environment.
$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[bench]'
	touch $@

bench: $(VENV)/.installed-bench
	$(BIN)/python -m loadtests.engines $(BENCH_ARGS)
	$(BIN)/python -m loadtests.workers.throughput

bench-scheduling: install
	$(BIN)/python -m loadtests.scheduling --repeat 5 --out runs/scheduling $(BENCH_ARGS)

bench-labeling: install
	$(BIN)/python -m loadtests.labeling --size 360x480
	$(BIN)/python -m loadtests.labeling --size 1024x2048 --photos 160 --shard-rows 40

bench-http: install
	$(BIN)/python -m loadtests.over_http $(BENCH_ARGS)

bench-servers: install
	$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(BIN)/python -m loadtests.rivals.install
	$(BIN)/python -m loadtests.servers --repeat 5 --out runs/servers $(BENCH_ARGS)

# The same servers around the network itself: plain, and with our engine inside each.
bench-networks: install
	$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(BIN)/python -m loadtests.rivals.install
	$(BIN)/python -m loadtests.networks --repeat 3 --out runs/networks $(BENCH_ARGS)

# What the shipped autoscaling does under a day, a spike and a ramp; with BENCH_ARGS=--choose, which figures to ship.
bench-autoscaling: install
	$(BIN)/python -m loadtests.autoscaling --out runs/autoscaling $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(VENV)-audit $(VENV)-judges $(VENV)-rivals .coverage .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis
