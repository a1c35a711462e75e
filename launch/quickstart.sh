#!/usr/bin/env bash
# The main job on real data: trains a CLIP baseline and an AlignCLIP model on pictograms and draws
# one page that compares them. About 8 minutes on 2 cores, the installation included.
#
#   bash launch/quickstart.sh [--config.key=value ...]      further arguments go to `aligngap train`
#   RUNS=runs/seed1 bash launch/quickstart.sh --config.seed=1       other runs, in a folder of their own
#
# Run it again to go on where it was stopped; what is finished is not done again.
# RUNS (default runs/quickstart) is where the runs go.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment train
allocator

runs=${RUNS:-runs/quickstart}

say "Preparing the pictograms corpus"
.venv/bin/aligngap prepare --corpus=pictograms
# Models this small use two cores together worse than one each: side by side they need two thirds
# of the time. An accelerator takes one after the other.
at_once=$(.venv/bin/python -c 'import jax, os
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
print(min(2, cores) if jax.default_backend() == "cpu" else 1)')
say "Training clip and alignclip in $runs"
.venv/bin/aligngap train --config=configs/quickstart.py --sweep --at_once="$at_once" \
  --workdir="$runs" "$@"
say "Evaluating them"
.venv/bin/aligngap evaluate --workdir="$runs" --at_once="$at_once"
say "Drawing the report"
.venv/bin/aligngap report --workdir="$runs" --output="$runs/report.html"
say "Done in $((SECONDS / 60)) min $((SECONDS % 60)) s. Open $(realpath "$runs")/report.html in a browser"
