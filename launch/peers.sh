#!/usr/bin/env bash
# Makes .venv-peers (1.4 GB), with webdataset and TensorFlow, for `aligngap bench readers`. Too large
# for launch/test.sh; where it is there, the test of that benchmark runs the others too.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
environment test
.venv/bin/python -c 'import torch' 2>/dev/null || die "webdataset needs torch: use Python 3.11"
environment_beside peers
