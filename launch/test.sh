#!/usr/bin/env bash
# Lint, types and tests, from nothing: makes .venv, prepares the corpus, runs everything on the CPU.
#
#   bash launch/test.sh [pytest arguments]      e.g. bash launch/test.sh tests/objectives -k values
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment test

say "ruff"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
say "mypy"
.venv/bin/mypy
say "Preparing the pictograms corpus"
.venv/bin/aligngap prepare --corpus=pictograms
say "pytest"
.venv/bin/python -m pytest -n 2 "$@"  # One process waits for compilers half of the time.
