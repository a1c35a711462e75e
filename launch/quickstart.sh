#!/usr/bin/env bash
# The main job on real data: trains a CLIP baseline and an AlignCLIP model on pictograms and draws
# one page that compares them. About 8 minutes on 2 cores, the installation included.
#
#   bash launch/quickstart.sh [--config.key=value ...]      further arguments go to `aligngap train`
#   RUNS=runs/seed1 bash launch/quickstart.sh --config.seed=1       other runs, in a folder of their own
#
# Run it again to go on where it was stopped; a finished run only evaluates and draws again.
# RUNS (default runs/quickstart) is where the runs go; PRESETS (default "clip alignclip") which.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment train
allocator

runs=${RUNS:-runs/quickstart}
presets=${PRESETS:-clip alignclip}
reported=()

say "Preparing the pictograms corpus"
.venv/bin/aligngap prepare --corpus=pictograms
for preset in $presets; do
  say "Training $preset in $runs/$preset"
  .venv/bin/aligngap train --config="configs/quickstart.py:$preset" --workdir="$runs/$preset" "$@"
  say "Evaluating $preset"
  .venv/bin/aligngap evaluate --workdir="$runs/$preset"
  reported+=("--workdir=$runs/$preset")
done
say "Drawing the report"
.venv/bin/aligngap report "${reported[@]}" --output="$runs/report.html"
say "Done in $((SECONDS / 60)) min $((SECONDS % 60)) s. Open $(realpath "$runs")/report.html in a browser"
