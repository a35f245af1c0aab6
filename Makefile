# make demo | make test | make bench | make site | make wheel | make check-oldest-torch | make check-levels: each sets up what it needs and is safe to repeat.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_DATA ?=
# One worker more than there are cores, because a test that starts processes waits for them for a quarter of its time.
WORKERS ?= $(shell expr $$(nproc) + 1)

.PHONY: demo test bench bench-extras site wheel check-oldest-torch check-levels clean

demo: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/skn demo --out demo-run --overwrite

# One worker runs all tests of a file, so shared parts are made once. Files keep their order: one with few tests may be slow.
test: $(INSTALLED)
	$(BIN)/pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15

# BENCH_DATA is a folder with SST-2; without it the built-in corpus is read. `make bench-extras` adds the libraries compared with.
bench: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/pytest bench $(if $(BENCH_DATA),--data $(BENCH_DATA))
	$(BIN)/python bench/report.py

bench-extras: $(INSTALLED)
	$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation --editable '.[bench]'

# The documentation: docs/ and the docstrings as pages in site/, which a browser can open. Their search needs a server:
# python -m http.server --directory site
site: $(INSTALLED)
	$(BIN)/mkdocs build

# dist/skn-VERSION-py3-none-manylinux_*.whl with the CPU library for every instruction set; `make wheel SKN_BUILD=` adds CUDA.
wheel: $(INSTALLED)
	$(BIN)/python scripts/make_wheel.py

# The native sources against the headers of the oldest supported torch. The first run downloads that torch's wheel.
check-oldest-torch: $(INSTALLED)
	$(BIN)/python scripts/oldest_torch.py

# The operators' tests at every instruction set, those that this machine lacks in emulation. It needs AVX2.
check-levels: $(INSTALLED)
	$(BIN)/python scripts/check_levels.py

clean:
	rm -rf $(VENV) build dist demo-run site *.egg-info skn/_native

# torch comes first and the build is not isolated: the native operators compile against the torch they will run in.
$(INSTALLED): pyproject.toml setup.py constraints.txt $(shell find csrc -type f)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch 'setuptools>=77' wheel
	$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation --editable '.[demo,test]'
	$(BIN)/skn doctor
	touch $@
