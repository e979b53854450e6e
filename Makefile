# make help says what there is. Works with GNU make 3.81 and newer.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
PORT   ?= 8000

# One thread per process where several processes share the machine.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

export JUPYTER_PREFER_ENV_PATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install book site pdf slides editions colab lighthouse quick test bench lint serve clean

help:  ## say what there is
	@echo "make book          run the chapters that are not up to date, render the pages"
	@echo "make book FRESH=1  run all chapters, render the pages"
	@echo "make site          render the pages from the stored outputs"
	@echo "make pdf           print the pages into one PDF (needs Chromium or Chrome)"
	@echo "make slides        make a deck of slides of every chapter, in _build/slides"
	@echo "make editions      make the student's and the lecturer's edition of the book"
	@echo "make colab         run the chapters as Colab would (needs Python 3.13, 5 GB)"
	@echo "make lighthouse    measure three pages: speed, accessibility, weight (needs npm)"
	@echo "make quick         ruff, mypy, and the tests that reach what you changed"
	@echo "make test          check the library, the chapters and the pages"
	@echo "make lint          ruff and mypy only"
	@echo "make bench         time the losses, write results/loss_benchmark.json"
	@echo "make serve         show the pages at http://127.0.0.1:$(PORT) (PORT=... to change)"
	@echo "make clean         remove what was built"
	@echo "Each works as the first command; the first one installs into $(VENV)."

install: $(READY)  ## make .venv with all that the book needs

$(READY): requirements.txt pyproject.toml
	@if test ! -x $(PY); then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: Python 3.11 or newer is needed; '$(PYTHON)' is older or missing." >&2; \
	    echo "       Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	  $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "error: no virtual environment was made. On Debian and Ubuntu it needs" >&2; \
	    echo "       the package python3-venv." >&2; exit 1; }; \
	fi
	@echo "Installing what the book needs into $(VENV) (some minutes the first time) ..."
	$(PY) -m pip install --quiet -r requirements.txt
	$(PY) -m pip install --quiet --no-deps -e .
	@touch $(READY)

book: $(READY)  ## run what is not up to date, render the pages
	$(PY) -m tools.notebooks run $(if $(FRESH),--fresh)
	$(PY) -m tools.render

site: $(READY)  ## render the pages from the stored outputs
	$(PY) -m tools.render

pdf: site  ## print the pages into one PDF
	$(PY) -m tools.pdf

slides: $(READY)  ## make a deck of slides of every chapter
	$(PY) -m tools.slides

editions: $(READY)  ## make the student's and the lecturer's edition
	$(PY) -m tools.editions

colab: $(READY)  ## run the chapters as Colab would
	$(PY) -m tools.colab

lighthouse: site  ## measure three pages: speed, accessibility, weight
	$(PY) -m tools.lighthouse

lint: $(READY)  ## ruff and mypy
	$(PY) -m ruff check lpl_lib tools tests benchmarks book/_ext conftest.py
	$(PY) -m mypy lpl_lib tools

quick: lint  ## what reaches a change, without what takes long
	$(ONE_THREAD) $(PY) -m tools.quick

test: lint site  ## all checks
	LPL_SIZE=smoke $(ONE_THREAD) $(PY) -m pytest book tests lpl_lib -q \
	  --doctest-modules --ignore=book/_ext -n 2 -p no:benchmark \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=300

# glibc's allocator shall keep what is freed: whether a side pays for fresh pages of memory
# depends on what ran before it.
bench: $(READY)  ## time the losses on an otherwise idle machine
	MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 $(ONE_THREAD) $(PY) -m pytest benchmarks -q

serve: site  ## show the pages in a browser
	$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

clean:  ## remove what was built (the installed packages stay: remove .venv by hand)
	rm -rf _build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
