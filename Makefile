# popk's commands; `make` alone lists them. Every target makes the environment .venv first.

PYTHON := .venv/bin/python
READY := .venv/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo docs notebooks test check-slow lint format types wheel bench bench-inference \
	bench-individual clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

# The environment is made anew when what it rests on changes, and counts as made only when the
# whole installation went through. setuptools goes in first: building without isolation uses the
# version pinned in constraints.txt.
$(READY): pyproject.toml setup.py constraints.txt
	@python=$$(/bin/sh .ci/find-python) || exit 2; \
	echo "popk: making the environment .venv with $$python, once; this takes one to five minutes." >&2; \
	"$$python" -m venv --clear .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--no-build-isolation -e ".[test,dev,docs]"
	@touch $@

demo: $(READY) ## run the worked example; its report is written to demo-run/
	.venv/bin/popk demo --out demo-run

# Everything is read anew: what blocks print depends on all of popk, not on their page alone.
docs: $(READY) ## build the documentation, every block run, in docs/_build/html
	$(PYTHON) -m sphinx -b html -E -j 2 -q -W --keep-going docs docs/_build/html
	$(PYTHON) docs/_extensions/check_site.py docs/_build/html

test: $(READY) ## run the tests, except the slow statistical ones
	$(PYTHON) -m pytest -m "not slow" -n 2

notebooks: $(READY) ## execute all notebooks and rewrite their outputs
	$(PYTHON) notebooks/execute.py

check-slow: $(READY) ## run the slow statistical checks
	$(PYTHON) -m pytest -m slow -n 2

lint: $(READY) ## check style and formatting
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

format: $(READY) ## put the imports in order and format the code
	$(PYTHON) -m ruff check --select I --fix
	$(PYTHON) -m ruff format

# mypy sees the packages as they are installed: popk with the folder models/ as popk.models.
types: $(READY) ## check the type hints
	@rm -rf .venv/types && mkdir -p .venv/types/popk
	@ln -s $(CURDIR)/popk/* .venv/types/popk/ && ln -s $(CURDIR)/models .venv/types/popk/models
	cd .venv/types && ../bin/python -m mypy --config-file $(CURDIR)/pyproject.toml \
		--cache-dir $(CURDIR)/.mypy_cache

wheel: $(READY) ## build the wheel, install it elsewhere and import every module from it
	$(PYTHON) .ci/check_wheel.py

bench: $(READY) ## run popk beside its peers; writes benchmarks/RESULTS.md
	$(PYTHON) benchmarks/bench_peers.py

bench-inference: $(READY) ## fit by popk and by its peers; writes benchmarks/RESULTS_INFERENCE.md
	$(PYTHON) benchmarks/bench_inference.py

bench-individual: $(READY) ## time the advice for a patient; writes benchmarks/RESULTS_INDIVIDUAL.md
	$(PYTHON) benchmarks/bench_individual.py

clean: ## remove the environment, caches and results of runs
	rm -rf benchmarks/peers/*/.venv benchmarks/peers/*/build benchmarks/inference/build
	rm -rf docs/_build docs/command-line docs/reference docs/tutorials docs/validation
	rm -rf .venv build dist popk.egg-info demo-run .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find popk models tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
