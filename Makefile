# Two Views: SimCLR from scratch. `make lab` opens the course, `make test` passes the tests; both set up by themselves.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8888
HOST ?= $(if $(wildcard /.dockerenv /run/.containerenv),0.0.0.0,localhost)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup lab test notebooks release grade bank hostile timings ui screenshots format clean

help:
	@sed -n 's/^## //p' Makefile

## make setup      make the environment .venv and install what requirements.txt lists (minutes the first time)
setup: $(VENV)/ready

$(VENV)/ready: requirements.txt pyproject.toml grading/setup.sh grading/lab_settings.py grading/nbgrader_config.py
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh grading/setup.sh
	@touch $@

## make lab        open JupyterLab on the first notebook (PORT=8888, HOST=localhost)
lab: setup
	@echo "JupyterLab starts. If no browser opens, copy the address it prints. Stop it with Ctrl-C, twice."
	@jupyter lab notebooks/00_start_here.ipynb --ServerApp.root_dir="$(CURDIR)" --port=$(PORT) --ip=$(HOST) \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),,--no-browser)

## make test       run all tests
test: setup
	@python -m pytest -q

## make notebooks  build notebooks/ from grading/source/
notebooks: setup
	@python -m grading.build

## make release    the same: notebooks/ is what learners get
release: notebooks

## make grade      grade grading/submitted/STUDENT/simclr/*.ipynb into grading/grades.csv and grading/feedback/
grade: setup
	@python -m grading.grade

## make bank       judge every answer of the bank, by the checks and through make grade, into data/results/ (two hours)
bank: setup
	@python -m tests.bank
	@python -m tests.bank_graded

## make hostile    grade a class that attacks the grader, and kill the grader; write data/results/hostile.json
hostile: setup
	@python -m grading.hostile && python -m grading.hostile --kills 20

## make timings    run every notebook, write wall time and peak memory to data/results/timings.json
timings: setup
	@python -m grading.timings

## make ui         measure the widgets in a real browser, into data/results/ui.json (on an idle machine)
ui: setup
	@python -m tests.ui

## make screenshots  take pictures of every widget in light and dark, into runs/screenshots/
screenshots: setup
	@python -m tests.screenshots

## make format     format and lint the code
format: setup
	@ruff format . && ruff check --fix .

## make clean      remove the environment and everything generated that is not committed
clean:
	rm -rf $(VENV) runs grading/instructor grading/.work *.egg-info
