# The same commands for learners, contributors, pre-commit and continuous integration.
.DEFAULT_GOAL := help
.PHONY: help lab test demo bench lessons lint types clean set-up
PYTHON_HERE := .venv/bin/python
PHOTO ?= deepinside_edu/data/photos/red_panda.jpg

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

lab: set-up ## open JupyterLab on lesson 1 (ARGS=--no-browser only serves it); your copies lie in my-lessons/
	@.venv/bin/deepinside lab my-lessons $(ARGS)

# Threads that wait sleep instead of spinning: a lesson on a busy machine takes 10 seconds instead of 56.
export OMP_WAIT_POLICY ?= PASSIVE
ON_ALL_CORES := $(PYTHON_HERE) -m pytest --numprocesses auto --maxprocesses 4 --dist
test: set-up lint types ## lint, types, unit tests, every lesson executed and compared
	$(ON_ALL_CORES) worksteal --ignore tests/browser $(ARGS)
	$(ON_ALL_CORES) loadfile tests/browser
	$(ON_ALL_CORES) loadfile --nbval --nbval-current-env notebooks

demo: set-up ## localise a photo (PHOTO=…) without a browser: top-5, boxes, times, a picture of every stage
	@$(PYTHON_HERE) -m deepinside_edu "$(PHOTO)" $(ARGS)

bench: set-up ## speed beside peers and the floor, as ratios
	@$(PYTHON_HERE) -c 'import captum, cv2, sklearn' 2>/dev/null || \
	$(PYTHON_HERE) -m pip install --quiet --no-compile -c constraints.txt -e '.[bench]'
	@$(PYTHON_HERE) -m benchmarks $(ARGS)

lessons: set-up ## execute the lessons in notebooks/ and store their outputs
	@$(PYTHON_HERE) scripts/write_lessons.py $(ARGS)

lint: set-up ## ruff over code and lessons
	$(PYTHON_HERE) -m ruff check .

types: set-up ## mypy, strict, over the package
	$(PYTHON_HERE) -m mypy

clean: ## remove .venv, builds and caches (never my-lessons/)
	rm -rf .venv build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

set-up:
	@scripts/set_up.sh
