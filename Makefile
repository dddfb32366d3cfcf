# What a person types. Everything lives in .venv and .recsys, both ignored by git.
PYTHON ?= python3
BIN := .venv/bin

export RECSYS_HOME ?= $(CURDIR)/.recsys
export DAGSTER_HOME ?= $(RECSYS_HOME)/dagster

.PHONY: demo test test-objects test-postgres test-page test-api test-kubernetes test-ray faults ui serve lint bench serving strangers live results published peers model-size reference setup clean
.DEFAULT_GOAL := demo

demo: setup  ## run the demo catalog and print recommendations
	$(BIN)/recsys demo

faults: setup  ## dagster dev for real, killed in the middle of a refresh
	$(BIN)/pytest -m faults

test-api: setup  ## the server, asked with requests made up from its OpenAPI document
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,api-tests]'
	$(BIN)/pytest -m api tests/api

test-objects: setup  ## sources and snapshots on object storage, with a local server that speaks S3
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,object-tests]'
	$(BIN)/pytest -m objects tests/objects

test-postgres: setup  ## PostgreSQL as a source, with the server that is installed here
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,postgres]'
	$(BIN)/pytest -m postgres tests/postgres

test-ray: setup  ## blocks of work on Ray: on this machine, and as a cluster of three nodes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,ray]'
	$(BIN)/pytest -m ray tests/compute

test-page: setup  ## the pages in a real browser, Chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,page-tests]'
	$(BIN)/pytest -m page tests/page

test-kubernetes: setup  ## the manifests of docs/kubernetes against the schemas of Kubernetes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,kubernetes-tests]'
	$(BIN)/pytest -m kubernetes tests/test_kubernetes.py

# Two processes however many cores there are: each holds torch and a published catalog.
test: setup  ## the whole test suite
	$(BIN)/pytest -n 2 --dist loadfile

serve: setup  ## answers over HTTP and the explorer page, on http://127.0.0.1:8000
	test -d $(RECSYS_HOME)/snapshots/movies || $(BIN)/recsys run movies
	$(BIN)/recsys serve

ui: setup  ## the Dagster UI, on http://127.0.0.1:3000
	$(BIN)/python -m recsys_dagster.home
	$(BIN)/dg dev --host 127.0.0.1

lint: setup  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check recsys_dagster benchmarks
	$(BIN)/python -m recsys_dagster.home
	$(BIN)/dg check defs

bench: setup  ## the figures of the README
	$(BIN)/python -m benchmarks.foundation
	$(BIN)/python -m benchmarks.fold_in

strangers: setup  ## tables of strangers, proposed and run with no edit
	$(BIN)/python -m benchmarks.strangers

live: setup  ## dagster dev for real: seconds from a dropped file to a snapshot, memory
	$(BIN)/python -m benchmarks.live

serving: setup  ## how fast recsys serve answers, over the demo catalog and a large one
	test -d $(RECSYS_HOME)/snapshots/movies || $(BIN)/recsys run movies
	$(BIN)/python -m benchmarks.serving

results: setup  ## strategies on several fields; RECSYS_DATA names the folder of the data sets
	$(BIN)/python -m benchmarks.results --data $(RECSYS_DATA)

published: setup  ## published tables beside ours; RECSYS_DATA names the folder of the data sets
	$(BIN)/python -m benchmarks.published --data $(RECSYS_DATA)

peers: setup .venv-peers/installed  ## other libraries beside ours; RECSYS_DATA names the folder of the data sets
	$(BIN)/python -m benchmarks.peers --data $(RECSYS_DATA)

model-size: setup  ## how large fitted models are; RECSYS_DATA names the folder of the data sets
	$(BIN)/python -m benchmarks.model_size --data $(RECSYS_DATA)

reference: setup  ## the YAML reference in the README, made again from the catalog model
	$(BIN)/python -m recsys_dagster.catalog.reference README.md

setup: .venv/installed  ## make .venv and install everything

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	touch $@

.venv-peers/installed: benchmarks/peers-requirements.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:  ## remove the environment and all data
	rm -rf .venv .venv-peers $(CURDIR)/.recsys
