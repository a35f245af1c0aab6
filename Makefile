# make demo | make test | make bench: each sets up what it needs and is safe to repeat.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_DATA ?=

.PHONY: demo test bench clean

demo: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/skn demo --out demo-run --overwrite

test: $(INSTALLED)
	$(BIN)/pytest

bench: $(INSTALLED)
	$(BIN)/python bench/probe.py $(if $(BENCH_DATA),--data $(BENCH_DATA))
	$(BIN)/python bench/kendall.py
	$(BIN)/python bench/encoder.py

clean:
	rm -rf $(VENV) build dist demo-run *.egg-info skn/_native

# torch comes first and the build is not isolated: the native operators compile against the torch they will run in.
$(INSTALLED): pyproject.toml setup.py constraints.txt $(shell find csrc -type f)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch 'setuptools>=77' wheel
	$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation --editable '.[demo,test]'
	$(BIN)/skn doctor
	touch $@
