# Needs Linux, make and Python 3.11 or later. Each target sets up .venv first; where that is done
# already, and requirements.lock has not changed since, it costs nothing.
#
#   make PYTHON=/path/to/python3.12 book    chooses the interpreter of a new .venv
#   make PACKAGES="-r requirements.txt -c constraints.txt" setup    installs without hashes, for a
#                                           build of PyTorch that requirements.lock does not have

.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -c
.PHONY: help setup book test test-faults test-notebooks notebook lab serve lint clean

# Paths are relative to this folder: its own path may hold spaces, quotes and dollar signs, since no
# rule and no command has it. What Python's tools cannot work with is refused before anything else.
define NEWLINE


endef
REFUSED := $(foreach mark,: { },$(findstring $(mark),$(CURDIR)))
REFUSED += $(if $(findstring $(NEWLINE),$(CURDIR)),line end)
ifneq ($(strip $(REFUSED)),)
$(error Python's tools cannot work in a path with a colon, a brace or a line end: move this folder)
endif

# A variable as one word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(value $(1)))'

# Candidates, the first one that is 3.11 or later is taken.
PYTHON ?= python3 python3.12 python3.11 python3.13
PORT ?= 8000
# Of the command line only: shells set a HOST of their own.
HOST = 127.0.0.1
# They get to the shell as `quoted` gives them, and in no other way; ARGS is words of the shell.
unexport NAME ARGS HOST PORT PYTHON

VENV := .venv
PY := $(VENV)/bin/python
PACKAGES = --require-hashes -r requirements.lock
LOCK := $(shell cksum < requirements.lock | tr ' ' -)
STAMP := $(VENV)/.installed-$(LOCK)
# What only one target needs, in requirements-NAME.lock: `make book` and `make test` do without.
lock_with = $(shell cat requirements.lock $(wildcard $(1)) | cksum | tr ' ' -)
CLUSTER_STAMP := $(VENV)/.cluster-$(call lock_with,requirements-cluster.lock)
LAB_STAMP := $(VENV)/.lab-$(call lock_with,requirements-lab.lock)
# The files that take longest are begun first, in this order.
LONGEST := whole/test_book_in_browser.py sweeps/test_cluster.py bookmaking/test_build.py
LONGEST += $(patsubst %,whole/test_%.py,kills_at_random benchmarks kills no_records no_home)
LONGEST += $(patsubst %,whole/test_%.py,contributing installed killed_programs full_disks)
LONGEST += $(patsubst %,whole/test_%.py,draw_a_mask bad_input explorer surroundings touch train_it)
LONGEST := $(addprefix tests/,$(LONGEST))
first = $(foreach file,$(LONGEST),$(filter $(file),$(1))) $(filter-out $(LONGEST),$(1))
TESTS = $(wildcard tests/test_*.py tests/*/test_*.py)
LONG_TESTS = $(shell grep -lE 'mark\.(faults|slow)' /dev/null $(TESTS))

# One thread a process: two processes run side by side, and results depend on the thread count.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
# No progress bars in the stored outputs of a notebook, and figures drawn inline in it.
NOTEBOOK_ENV := TQDM_DISABLE=1 MPLBACKEND=module://matplotlib_inline.backend_inline
# Figures do not depend on the user's own settings, and the font cache is built during set-up:
# building it later would leave a message in the outputs of the first notebook.
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/matplotlib
# nbval runs a notebook in the notebook's own folder: a relative path would mean another one there.
DATA := $(value RANDPRUNE_DATA)
ifneq ($(DATA),)
override RANDPRUNE_DATA := $(if $(filter /% ~%,$(firstword $(DATA))),,$(CURDIR)/)$(DATA)
export RANDPRUNE_DATA
endif

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1|/' | \
		awk -F'|' '{ printf "%-24s %s\n", $$1, $$2 }'

setup: $(STAMP) ## create .venv, to which lab and test-faults add

book: $(STAMP) ## execute the chapters and build the book (the last line is the path of index.html)
	@$(PY) -m randprune_core book

# Three at a time on two cores, since some wait for a browser or for a program to end.
test: $(STAMP) ## run the tests, then every notebook against its stored outputs
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(call first,$(TESTS))
	$(NOTEBOOK_ENV) $(PY) -m pytest -p no:cacheprovider --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg -n 3 --dist loadfile notebooks

# Four at a time on two cores: many of them wait for a cluster or for a program to end.
test-faults: $(CLUSTER_STAMP) ## the long tests: kills, full disks, lost nodes of a cluster; whole programs
	@$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "faults or slow" \
		$(call first,$(LONG_TESTS))

test-notebooks: $(STAMP) ## re-run every chapter with profile quick
	@$(PY) -c 'from randprune_core.bookmaking import build; build.run_quick()'

notebook: $(STAMP) ## re-run one chapter: make notebook NAME=01_depth ARGS="-p profile quick"
	@name=$(call quoted,NAME)
	if [ -z "$$name" ]; then
		echo 'name a chapter: make notebook NAME=01_depth ARGS="-p profile quick"' >&2; exit 2
	fi
	$(PY) -m randprune_core notebook "$$name" $(ARGS)

lab: $(LAB_STAMP) ## open the notebooks in JupyterLab (ARGS: its own options)
	@$(PY) -m jupyterlab notebooks $(ARGS)

serve: book ## build the book and serve it on http://127.0.0.1:PORT (PORT=8000 HOST=127.0.0.1)
	@port=$(call quoted,PORT)
	echo "http://127.0.0.1:$$port"
	$(PY) -m http.server "$$port" --bind $(call quoted,HOST) --directory _build/html

lint: $(STAMP) ## check style, formatting and what may import what
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-cache --no-logo

clean: ## remove the built book and caches (records, results/local and .venv stay)
	@rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# uv if it can be had, since it installs in seconds what takes pip minutes; otherwise pip. It is the
# user's own, or the one that requirements.lock lists. Both read the user's own settings; uv is told
# of pip's index, find-links and certificates as well.
define INSTALL
uv=uv
if ! uv --version >/dev/null 2>&1; then
	uv=$(VENV)/bin/uv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	[ -x "$$uv" ] || $(PY) -m pip install -q --require-hashes -r $(VENV)/uv.txt >/dev/null 2>&1 || true
fi
with_uv() (
	[ -z "$${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}"
	[ -z "$${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}"
	[ -z "$${PIP_CERT:-}" ] || export SSL_CERT_FILE="$${SSL_CERT_FILE:-$$PIP_CERT}"
	"$$uv" pip install --compile-bytecode -p $(PY) "$$@"
)
with_pip() { $(PY) -m pip install --progress-bar off "$$@"; }
install() { "$$uv" --version >/dev/null 2>&1 && with_uv -q "$$@" || with_pip -q "$$@"; }
endef

$(STAMP) $(CLUSTER_STAMP) $(LAB_STAMP): export PIP_DISABLE_PIP_VERSION_CHECK := 1
$(STAMP):
	@echo "setting up .venv (about 6 GB; a minute with uv, several with pip)"
	if ! $(PY) -c '' 2>/dev/null; then
		python=
		candidates=$(call quoted,PYTHON)
		for candidate in "$$candidates" $$candidates; do
			if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
				python=$$("$$candidate" -c 'import sys; print(sys.executable)'); break
			fi
		done
		if [ -z "$$python" ]; then
			echo "no Python 3.11 or later among: $$candidates; name one with make PYTHON=..." >&2; exit 2
		fi
		rm -rf $(VENV)
		"$$python" -m venv $(VENV) >/dev/null 2>&1 || uv venv -q --clear --seed -p "$$python" $(VENV) || {
			echo "cannot create .venv: install uv, or the venv module (Debian: python3-venv)" >&2; exit 2
		}
	fi
	$(INSTALL)
	install $(PACKAGES)
	install --no-deps --no-build-isolation -e .
	$(PY) -c 'import matplotlib.font_manager'
	rm -f $(VENV)/.installed-*
	touch $@

$(CLUSTER_STAMP) $(LAB_STAMP): $(STAMP)
	@$(INSTALL)
	name=$(if $(findstring /.lab-,$@),lab,cluster)
	lock="requirements-$$name.lock"
	[ ! -f "$$lock" ] || install --require-hashes -r "$$lock"
	rm -f $(VENV)/.$$name-*
	touch $@
