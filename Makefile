# Every target installs first where nothing is installed.
PYTHON ?= python3
VENV ?= .venv
SEED ?= 0
# Files of tests that run at once.
PROCESSES ?= 2
EXTRAS ?= dev
RUN := $(VENV)/bin/python -m

.PHONY: install quickstart test lint bench soak clean

install: $(VENV)/.installed-$(EXTRAS)

$(VENV)/.installed-$(EXTRAS): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --upgrade pip
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

quickstart: install
	$(RUN) launch.quickstart --seed=$(SEED) --workdir=runs/quickstart

test: install
	$(RUN) pytest --numprocesses=$(PROCESSES) --dist=loadfile

lint: install
	$(RUN) ruff check .
	$(RUN) ruff format --check .

bench: install
	$(RUN) benchmarks.run

soak: install
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) pytest -m soak

clean:
	rm -rf $(VENV) runs build
