#!/usr/bin/env bash
# Lint, types and tests, from nothing: makes .venv, prepares the corpus, runs everything on the CPU.
# Installs Debian's chromium, tcmalloc, SLURM and Open MPI where it may; without them, their tests are
# skipped.
#
#   bash launch/test.sh [pytest arguments]      e.g. bash launch/test.sh tests/objectives -k values
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment test
say "ruff"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
say "mypy, while the rest is installed"
.venv/bin/mypy &
types=$!
{
  environment_beside s3
  if .venv/bin/python -c 'import torch' 2>/dev/null; then
    environment_beside open_clip
  else
    say "No torch: no .venv-open_clip"
  fi
  environment_beside beam
  environment_beside stores
} &
beside=$!

allocator
command -v chromium >/dev/null || debian_package chromium ||
  say "No chromium: the tests of pages are skipped"
{ command -v slurmctld && command -v mpirun; } >/dev/null ||
  debian_package slurmctld slurmd slurm-client munge openmpi-bin ||
  say "No SLURM or Open MPI: the tests of what they start are skipped"

say "Preparing the pictograms corpus and CLIP's tokenizer"
.venv/bin/aligngap prepare --corpus=pictograms --tokenizer=clip
wait "$beside"
wait "$types"
# The tests start hundreds of programs, and where Python writes no bytecode each would compile all.
.venv/bin/python -m compileall -q aligngap tests
say "pytest"
.venv/bin/python -m pytest -n 2 --dist=worksteal "$@"  # One process waits for compilers half of the time.
