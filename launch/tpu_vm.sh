#!/usr/bin/env bash
# Pretraining on a Cloud TPU (all hosts of a slice), from this machine; starts again when preempted.
#   bash launch/tpu_vm.sh NAME ZONE train --config=configs/alignclip_vit_b16_cc12m.py --workdir=/mnt/DIR
# NAME is a TPU VM that exists, e.g. of: gcloud compute tpus tpu-vm create NAME --zone=ZONE \
#   --accelerator-type=v5litepod-256 --version=v2-alpha-tpuv5-lite
# /mnt/DIR lies on a file system that all hosts mount. SOURCE (default: this checkout's origin) is the
# repository that every host clones.
set -euo pipefail
(($# >= 3)) || { echo "usage: bash launch/tpu_vm.sh NAME ZONE VERB [ARGUMENT ...]" >&2; exit 2; }
name=$1 zone=$2
shift 2
source_=${SOURCE:-$(git -C "$(dirname "$0")" remote get-url origin)}

everywhere() {
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}
everywhere "test -d aligngap || git clone --quiet $(printf %q "$source_") aligngap
  cd aligngap && source launch/environment.sh && environment train tpu"
# The hosts find each other by the slice's metadata. 75: all have saved; the same command goes on.
while true; do
  code=0
  everywhere "cd aligngap && exec .venv/bin/aligngap $(printf '%q ' "$@")" || code=$?
  ((code == 75)) || exit "$code"
done
