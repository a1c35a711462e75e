#!/usr/bin/env bash
# Several processes on this machine, as one run:
#   bash launch/local_cluster.sh 2 train --config=configs/quickstart.py:clip --workdir=runs/two
# A signal goes to all of them. Ends with 0, or with the first other exit code, once all have ended;
# where one fails the others are told to stop, and killed after GRACE seconds (30).
set -euo pipefail
usage() { echo "usage: bash launch/local_cluster.sh PROCESSES VERB [ARGUMENT ...]" >&2; exit 2; }
[[ ${1:-} =~ ^[1-9][0-9]*$ && $# -ge 2 ]] || usage
processes=$1; shift
python=${PYTHON:-$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/python}
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')

pids=()
for ((process = 0; process < processes; process++)); do
  "$python" -m aligngap.cli "$@" --coordinator_address="localhost:$port" \
    --num_processes="$processes" --process_id="$process" &
  pids+=($!)
done
tell() { kill -s "$1" "${pids[@]}" 2>/dev/null || true; }
trap 'tell TERM' TERM
trap 'tell INT' INT

code=0
while ((${#pids[@]})); do
  ended=0
  wait -n -p one "${pids[@]}" || ended=$?
  [[ -n ${one:-} ]] || continue # A signal came, no process ended.
  left=()
  for pid in "${pids[@]}"; do [[ $pid == "$one" ]] || left+=("$pid"); done
  pids=("${left[@]}")
  if ((ended && !code)); then
    code=$ended
    if ((code != 75 && ${#pids[@]})); then
      tell TERM
      (sleep "${GRACE:-30}"; tell KILL) &
    fi
  fi
  unset one
done
exit "$code"
