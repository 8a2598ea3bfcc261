# make demo   the console over generated listings, with everything it needs; one Ctrl-C stops all of it
# make test   all tests, against an embedded PostgreSQL of their own
# make try    TESTS with another PYTHON in a VENV of its own, where nothing is installed but what tests need
# make test-fast  those that need no browser, no process and no database of their own
# make coverage  how much of rollout/plan the quick tests of it and its checks reach; fails below FLOOR percent
# make format formats the code, and mends what ruff can mend
# make help   this list
# make bench  the backfill against other loops, and what triggers cost a statement; with ROWS rows most of half an hour
# make bench-workers  how fast a backfill gets with workers and cores, with ROWS rows; 10 minutes
# make bench-audit  the full audit against count(*) and other ways, with ROWS rows; some minutes
# make bench-kinds  the fill of a Convert and of an Extract against a lookup's, with ROWS rows; 10 minutes
# make bench-phases  phases 1 to 4 and back beside an application, with ROWS rows; 40 minutes. OF=keys or OF=partitions widens a key
# make bench-peers  the peers that exist as packages at the same work, with ROWS rows; 25 minutes
# make bench-scale  1, 5 and 20 million rows forward and back: speeds, memory, sizes, pages; 2 hours
# make bench-telemetry  what measuring the application costs, with and without within one run
# make docs   docs/ as pages, in site/VERSION/; a warning is an error; DOCS_EDIT_URL adds links to edit them
# make bench-pages  how long pages take and what 50 open tabs cost, with ROWS rows; 15 minutes
# make reference  writes the parts of docs/ that are made from the code
# make pictures  takes pictures of the main pages for docs/images, light and dark; some minutes
# make lint   ruff, mypy, import rules, lengths of files, names of variables
# make audit-dependencies   known vulnerabilities of what is installed, where that can be asked
# make clean  removes what the other targets made, the demo's data included

PYTHON ?= python3
# One for each Python: make test PYTHON=python3.13 VENV=.venv-3.13
VENV ?= .venv
TESTS ?= tests
# The documents of each version stay beside one another, with a menu.
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# More than the cores: tests wait for processes that start and for locks, slow ones most of the time.
CORES := $(shell getconf _NPROCESSORS_ONLN)
test: WORKERS ?= $(shell echo $$(($(CORES) + 2)))
test-fast: WORKERS ?= $(shell echo $$(($(CORES) + 1)))
# Percent of the plan language: 91 when it was last measured.
FLOOR ?= 87

.PHONY: help demo test try test-fast coverage format bench bench-workers bench-audit bench-kinds bench-phases bench-peers bench-scale bench-telemetry bench-pages docs pictures reference lint audit-dependencies clean

# Variables (PORT, ROWS, LISTINGS, TRAFFIC, RESET, STRICT, SCENE, ROLLOUT_HOME, DATABASE_URL) pass through the
# environment. `exec`, so that a signal to make's child is a signal to the demo itself.
demo: $(VENV)/.demo
	@exec $(VENV)/bin/python -m config.demo

test: $(VENV)/.development
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

try: $(VENV)/.tests
	$(VENV)/bin/python -m pytest $(TESTS)

test-fast: $(VENV)/.development
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup -m "not (slow or browser or crash or bench)" $(TESTS)

coverage: $(VENV)/.development
	$(VENV)/bin/python -m pytest -q tests/plan tests/checks -m "not slow" --cov=rollout/plan --cov-report=term:skip-covered --cov-fail-under=$(FLOOR)

format: $(VENV)/.development
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

bench-telemetry: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.telemetry

bench: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.backfill --rows $(or $(ROWS),2000000)

bench-workers: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.workers --rows $(or $(ROWS),2000000)

bench-audit: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.audit --rows $(or $(ROWS),10000000)

bench-kinds: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.kinds --rows $(or $(ROWS),2000000)

# The peers are installed into environments of their own; they want Python 3.12 or newer.
bench-peers: $(VENV)/.demo
	@PEERS_PYTHON=$(or $(PEERS_PYTHON),python3.12) exec $(VENV)/bin/python -m bench.peers --rows $(or $(ROWS),200000)

bench-scale: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.scale --rows $(or $(ROWS),1000000 5000000 20000000)

bench-phases: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.phases --rows $(or $(ROWS),2000000) --of $(or $(OF),properties)

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --site-dir site/$(VERSION)
	$(VENV)/bin/python -m config.doc_versions site

pictures: $(VENV)/.development
	PICTURES=$(or $(PICTURES),docs/images) $(VENV)/bin/python -m pytest -q tests/in_browser/test_pictures.py

reference: $(VENV)/.development
	$(VENV)/bin/python -m config.reference

bench-pages: $(VENV)/.demo
	@exec $(VENV)/bin/python -m bench.pages --rows $(or $(ROWS),10000000)

# mypy's Django plugin loads the settings; it connects to nothing.
lint: $(VENV)/.development
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	SECRET_KEY=lint DATABASE_URL=postgresql:///lint DEMO=1 $(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python .ci/check_sources.py .ci bench config offers properties rollout tests

audit-dependencies: $(VENV)/.development
	$(VENV)/bin/python .ci/audit_dependencies.py

clean:
	rm -rf .venv .venv-* .rollout build dist site *.egg-info .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	  "Python 3.11 or newer is needed, but $(PYTHON) is " + sys.version.split()[0] + \
	  ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[demo,redis]'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/.tests: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[demo,redis,test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.development: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[demo,redis,docs,test,lint]'
	@touch $@ $(VENV)/.demo $(VENV)/.docs $(VENV)/.tests
