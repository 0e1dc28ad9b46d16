# Everything sets itself up on first use, on Debian or Ubuntu with Python 3.11 to 3.13, and only
# once. `make` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help

TRACK ?= tensorflow
NOTEBOOK ?= solutions/kungfu_a2c_$(TRACK).ipynb
MINUTES ?=

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)

VENV := .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# $(call need,CHECK,PACKAGE): installs a Debian package unless CHECK succeeds, or names it.
need = $(1) >/dev/null 2>&1 || { \
	as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	type apt-get $$as_root >/dev/null 2>&1 && $$as_root apt-get update -qq && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(2); \
	} || { echo "The Debian package $(2) is needed: let root run 'apt-get install $(2)'." >&2; exit 1; }

.PHONY: help
help: ## list the targets
	@echo "make TARGET [TRACK=tensorflow or pytorch] [PYTHON=python3.x], where TARGET is one of"
	@sed -nE 's/^([a-z-]+):[^#]*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: grade
grade: $(VENV)/.grading bubblewrap ## grade a notebook [NOTEBOOK=path, by default the solution]
	@# What the notebook's assignment needs beside the grader: a framework, or nothing.
	@solution=$$($(RUN) -m grading which "$(NOTEBOOK)") && case $${solution##*_} in \
		tensorflow | pytorch) $(MAKE) --no-print-directory $(VENV)/.runtime-$${solution##*_};; esac
	@# Missing points (1) are a result; only what could not be graded is an error of make's.
	$(RUN) -m grading grade "$(NOTEBOOK)" || test $$? -eq 1

SUBMISSIONS ?= build/example/submissions
OUT ?= build/class

.PHONY: class
class: $(VENV)/.grading bubblewrap ## grade a class [SUBMISSIONS=folder or zip, OUT=folder, OPTIONS=...]
	@[ -e "$(SUBMISSIONS)" ] || [ "$(SUBMISSIONS)" != build/example/submissions ] || \
		{ $(MAKE) --no-print-directory $(VENV)/.runtime-pytorch && \
		$(RUN) examples/write_class.py build/example; }
	@# What each assignment needs, unless course.toml beside the submissions names the only one.
	@course="$$(dirname "$(SUBMISSIONS)")/course.toml"; \
	named=$$(sed -nE 's/^assignment *= *"(.*)".*/\1/p' "$$course" 2>/dev/null); \
	for solution in $${named:-$(basename $(notdir $(wildcard solutions/*.ipynb)))}; do \
		case $${solution##*_} in tensorflow | pytorch) \
			$(MAKE) --no-print-directory $(VENV)/.runtime-$${solution##*_} || exit 1;; esac; \
	done
	$(RUN) -m grading class "$(SUBMISSIONS)" -o "$(OUT)" $(OPTIONS)

# Tests run side by side, a process each: more threads would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(RUN) -m pytest tests

.PHONY: test
test: $(VENV)/.test chromium bubblewrap ## run the project's own checks and tests
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m grading release --check
	@# First what fills process tables and watches the clock, by itself. Of the rest, who is done
	@# takes over half of what another still has to do: nobody waits for the longest module.
	$(PYTEST) -m alone --junit-xml=build/tests-alone.xml
	$(PYTEST) -m "not alone and not long" --junit-xml=build/tests.xml \
		--numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: test-long
test-long: $(VENV)/.test bubblewrap ## grade the whole corpus, and what else takes long [over an hour]
	$(PYTEST) -m long --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: train
train: $(VENV)/.train $(VENV)/.runtime-$(TRACK) ## train the solution's agent until it passes [or MINUTES=number]
	$(RUN) solutions/train.py --track $(TRACK) $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: bench
bench: $(VENV)/.bench ## measure how fast training is [about 20 minutes, on a quiet machine]
	$(RUN) -m benchmarks.training_speed --track $(TRACK) --write
	$(RUN) -m benchmarks.training_profile --track $(TRACK) --write
	$(RUN) -m benchmarks.training_growth --track $(TRACK) --write
	@# What takes hours is only repeated, if it ever ran.
	@for name in training_learning training_peers; do \
		runs=benchmarks/results/$${name}$(if $(filter pytorch,$(TRACK)),_pytorch).jsonl; \
		[ ! -f $$runs ] || $(RUN) -m benchmarks.$$name --track $(TRACK) --report || exit 1; \
	done

.PHONY: bench-class
bench-class: $(VENV)/.bench bubblewrap ## measure what a class costs, PyTorch unless TRACK is given [most of an hour]
	$(RUN) -m benchmarks.class_cost $(if $(filter file,$(origin TRACK)),,--track $(TRACK)) --write

.PHONY: bench-learning
bench-learning: $(VENV)/.bench ## measure how well it learns [hours; goes on where it stopped]
	$(RUN) -m benchmarks.training_peers --track $(TRACK) --write
	$(RUN) -m benchmarks.training_learning --track $(TRACK) --write
	$(if $(filter tensorflow,$(TRACK)),$(RUN) -m benchmarks.training_ablation --write)

.PHONY: lab
lab: $(VENV)/.lab $(VENV)/.runtime-$(TRACK) ## open the student notebook in JupyterLab
	$(RUN) -m jupyter lab notebooks/kungfu_a2c_$(TRACK).ipynb

.PHONY: release
release: $(VENV)/.grading ## cut the student notebooks out of the solutions
	$(RUN) -m grading release

.PHONY: publish
publish: $(VENV)/.grading ## commit all that students get in a clone of their repository [REPOSITORY=owner/name]
	$(RUN) -m grading publish "$(REPOSITORY)"

.PHONY: figures
figures: $(VENV)/.runtime-tensorflow ## draw the notebooks' figures
	$(RUN) solutions/draw_figures.py

.PHONY: clean
clean: ## remove environments and caches; trained agents and videos stay
	rm -rf $(VENV) .venv-colab .venv-colab.lock build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------ what they need

$(VENV)/.venv:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or name it" \
		"with PYTHON=/path/to/python." >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' || { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13." >&2; exit 1; }
	@$(call need,$(PYTHON) -c 'import ensurepip',$$($(PYTHON) -c \
		'import sys; print("python%d.%d-venv" % sys.version_info[:2])'))
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime-tensorflow: $(VENV)/.venv requirements.txt constraints.txt
	$(INSTALL) --requirement requirements.txt
	@touch $@

# PyTorch goes first, by itself: see constraints.txt for its CPU build.
$(VENV)/.runtime-pytorch: $(VENV)/.venv requirements-pytorch.txt constraints.txt
	$(INSTALL) torch
	$(INSTALL) --requirement requirements-pytorch.txt
	@touch $@

$(VENV)/.train: $(VENV)/.venv
	$(INSTALL) nbclient nbconvert
	@touch $@

$(VENV)/.bench: $(VENV)/.grading $(VENV)/.runtime-$(TRACK) $(VENV)/.runtime-pytorch
	$(INSTALL) --editable '.[bench]'
	@touch $@

$(VENV)/.lab: $(VENV)/.venv
	$(INSTALL) jupyterlab
	@touch $@

$(VENV)/.grading: $(VENV)/.venv pyproject.toml requirements-grading.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.grading $(VENV)/.runtime-tensorflow $(VENV)/.runtime-pytorch
	$(INSTALL) --editable '.[test,train]'
	@touch $@

.PHONY: chromium
chromium:
	@$(call need,command -v chromium,chromium)

.PHONY: bubblewrap
bubblewrap:
	@$(call need,command -v bwrap,bubblewrap)
