# Sourced by the other scripts: makes .venv where it is missing, and reuses it where it is whole.
# Usage: environment [EXTRA ...]   e.g. `environment test`. Honours PYTHON, e.g. PYTHON=python3.12.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed (Debian, Ubuntu: apt-get install python3 python3-venv)"
}

environment() {
  local extras wanted
  extras=$(IFS=,; echo "$*")
  # What the environment was made from; when that changes, pip brings it up to date.
  wanted=$(cat pyproject.toml launch/constraints.txt | cksum)
  if [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null &&
    [ "$(cat ".venv/installed-${extras:-base}" 2>/dev/null)" = "$wanted" ]; then
    say "Using the environment in .venv"
    return
  fi
  if ! { [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    say "Making .venv"
    local python
    python=$(find_python) || exit 1
    if ! "$python" -m venv --clear .venv; then
      rm -rf .venv
      die "$python has no venv module (Debian, Ubuntu: apt-get install python3-venv)"
    fi
  fi
  say "Installing aligngap and what it needs into .venv (about 1 GB; a minute or two)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint launch/constraints.txt --editable ".${extras:+[$extras]}" ||
    die "the installation failed; see the lines above"
  echo "$wanted" >".venv/installed-${extras:-base}"
}
