# Two Views: SimCLR from scratch. `make lab` opens the course, `make test` passes the tests; both set up by themselves.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8888
HOST ?= $(if $(wildcard /.dockerenv /run/.containerenv),0.0.0.0,localhost)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup lab test test-matrix notebooks release grade bank hostile bench bench-learn choices kills timings ui screenshots site class format clean

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
	@jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb --ServerApp.root_dir="$(CURDIR)" \
	  --port=$(PORT) --ip=$(HOST) \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),,--no-browser)

## make test       run all tests
test: setup
	@$(BIN)/python -m pytest -q

## make test-matrix    run them on the oldest and the newest Python and torch, each freshly installed (10 GB free; TESTS=...)
test-matrix: setup .venv-site/ready
	@$(BIN)/python -m tests.matrix $(TESTS)

## make notebooks  build notebooks/ from grading/source/
notebooks: setup
	@$(BIN)/python -m grading.build

## make release    the same: notebooks/ is what learners get
release: notebooks

## make grade      grade grading/submitted/STUDENT/simclr/*.ipynb into grading/grades.csv and grading/feedback/
grade: setup
	@$(BIN)/python -m grading.grade

## make bank       judge every answer of the bank, by the checks and through make grade, into data/results/ (two hours)
bank: setup
	@$(BIN)/python -m tests.bank
	@$(BIN)/python -m tests.bank_graded

## make hostile    grade a class that attacks the grader, and kill the grader; write data/results/hostile.json
hostile: setup
	@$(BIN)/python -m grading.hostile && $(BIN)/python -m grading.hostile --kills 20

## make bench      install lightly, kornia and pytorch-metric-learning beside the course, race them; write data/results/bench.*
bench: setup
	@$(BIN)/python -m grading.bench && $(BIN)/python -m grading.bench.profile

## make bench-learn    train ours and the peers' for 3, 5, 10 and 30 minutes on CIFAR-10 (DATA=folder:PATH); some hours
bench-learn: setup
	@$(BIN)/python -m grading.bench learn $(if $(DATA),--data "$(DATA)")

## make choices    take back one choice of the photographs' recipe at a time (DATA=folder:PATH); some hours
choices: setup
	@$(BIN)/python -m grading.bench.choices $(if $(DATA),--data "$(DATA)")

## make kills      kill a training run 20 times, resume it, compare the last bit; write data/results/kills.json
kills: setup
	@$(BIN)/python -m tests.kill_training --kills 20

## make timings    run every notebook, write wall time and peak memory to data/results/timings.json
timings: setup
	@$(BIN)/python -m grading.timings

## make ui         measure the widgets in a real browser, into data/results/ui.json (on an idle machine)
ui: setup
	@$(BIN)/python -m tests.ui

## make screenshots  take pictures of every widget in light and dark, into runs/screenshots/
screenshots: setup
	@$(BIN)/python -m tests.screenshots

## make site       run every notebook and publish the reading edition, with solutions, into site/ (WITHOUT_SOLUTIONS=1)
site: setup .venv-site/ready
	@$(BIN)/python -m grading.teaching.site $(if $(WITHOUT_SOLUTIONS),--without-solutions) $(if $(QUICK),--quick)

.venv-site/ready: grading/docs/requirements.txt
	@echo "Installing what builds the site into .venv-site, once."
	@test -x .venv-site/bin/python || $(BIN)/python -m venv --without-pip .venv-site
	@$(BIN)/python -m pip --python .venv-site/bin/python install -q --disable-pip-version-check -r grading/docs/requirements.txt
	@touch $@

## make class      JupyterHub for a class on this machine, with nbgrader's exchange; as root (PORT=8000, grading/docs/class.md)
class: setup .venv-class/ready
	@$(BIN)/python -m grading.teaching.classroom serve --address 0.0.0.0:$(if $(filter file,$(origin PORT)),8000,$(PORT))

.venv-class/ready: grading/teaching/requirements.txt grading/teaching/hub.sh
	@VENV="$(VENV)" PYTHON="$(PYTHON)" sh grading/teaching/hub.sh
	@touch $@

## make format     format and lint the code
format: setup
	@ruff format . && ruff check --fix .

## make clean      remove the environments and what can be made again; grades, answers and runs stay
clean:
	rm -rf $(VENV) .venv-site .venv-class .venv-matrix site data/cache grading/instructor grading/.work/bench grading/.work/tmp *.egg-info
