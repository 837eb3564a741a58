# The same commands for learners, contributors, pre-commit and continuous integration.
.DEFAULT_GOAL := help
.PHONY: help lab test test-steps test-quick test-browser test-lessons test-everywhere demo bench lessons lint types clean set-up
PYTHON_HERE := .venv/bin/python
PHOTO ?= deepinside_edu/data/photos/red_panda.jpg

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

lab: set-up ## open JupyterLab on lesson 1 (ARGS=--no-browser only serves it); your copies are in my-lessons/
	@.venv/bin/deepinside lab my-lessons $(ARGS)

# Threads that wait sleep instead of spinning: a lesson on a busy machine takes 10 seconds instead of 56.
export OMP_WAIT_POLICY ?= PASSIVE
ON_ALL_CORES := $(PYTHON_HERE) -m pytest --numprocesses auto --maxprocesses 4 --dist
PARTS := lint types test-steps test-browser test-lessons

test: set-up ## lint, types, unit tests, browser tests, every lesson executed and compared: all of them, whatever fails
	@failed=; for part in $(PARTS); do $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; done; \
	[ -z "$$failed" ] || { echo "make test: these parts failed:$$failed" >&2; exit 1; }; \
	echo "make test: every part passed ($(PARTS))"

test-steps: set-up ## the unit tests alone (ARGS=tests/test_saliency.py for one file)
	$(ON_ALL_CORES) worksteal --ignore tests/browser $(ARGS)

test-quick: set-up ## the unit tests without the slow ones, for the loop between two edits: at most 90 s
	$(ON_ALL_CORES) worksteal --ignore tests/browser -m "not slow" $(ARGS)

test-browser: set-up ## the explorers in a real browser alone
	$(ON_ALL_CORES) loadfile tests/browser

test-lessons: set-up ## the lessons alone, compared with their stored outputs
	$(ON_ALL_CORES) loadfile --nbval --nbval-current-env notebooks

test-everywhere: set-up ## numerical tests and lessons as on other processors: threads, instruction sets, disturbed maps
	@$(PYTHON_HERE) scripts/test_everywhere.py $(ARGS)

demo: set-up ## localise a photo (PHOTO=…) without a browser: top-5, boxes, times, a picture of every stage
	@$(PYTHON_HERE) -m deepinside_edu "$(PHOTO)" $(ARGS)

bench: set-up ## speed beside peers and the floor, as ratios
	@$(PYTHON_HERE) -c 'import captum, cv2, sklearn' 2>/dev/null || \
	$(PYTHON_HERE) -m pip install --quiet --no-compile -c constraints.txt -e '.[bench]'
	@$(PYTHON_HERE) -m benchmarks $(ARGS)

lessons: set-up ## execute the lessons in notebooks/ and store their outputs
	@$(PYTHON_HERE) scripts/write_lessons.py $(ARGS)

FRONT := deepinside_edu/explorers/front tests/front

lint: set-up ## ruff over code and lessons, oxlint and oxfmt over the browser half (`.venv/bin/oxfmt` formats it)
	$(PYTHON_HERE) -m ruff check .
	.venv/bin/oxlint --deny-warnings $(FRONT)
	.venv/bin/oxfmt --check $(FRONT)

types: set-up ## mypy, strict, over the package
	$(PYTHON_HERE) -m mypy

clean: ## remove .venv, builds and caches (never my-lessons/)
	rm -rf .venv build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

set-up:
	@scripts/set_up.sh
