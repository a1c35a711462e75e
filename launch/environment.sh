# Sourced by the other scripts: makes .venv where it is missing, and reuses it where it is whole.
# Usage: environment EXTRA [...]   e.g. `environment train`. Honours PYTHON, e.g. PYTHON=python3.12.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
      die "PYTHON=$PYTHON is not a Python of 3.11 or newer"
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed (Debian, Ubuntu: apt-get install python3 python3-venv)"
}

# Whether .venv was made by the Python that is asked for, and works.
usable() {
  .venv/bin/python -m pip --version >/dev/null 2>&1 &&
    { [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -V 2>&1)" = "$(.venv/bin/python -V)" ]; }
}

environment() {
  local extras wanted python compile=--no-compile
  extras=$(IFS=,; echo "$*")
  # What it was made from, and where: when that changes, pip brings it up to date.
  wanted=$({ cat pyproject.toml launch/constraints.txt; pwd; } | cksum)
  if usable; then
    # The environment of the tests also serves for training.
    if grep -qsxF "$wanted" .venv/installed-"$extras" .venv/installed-"${extras/#train/test}"; then
      say "Using the environment in .venv"
      return
    fi
  else
    say "Making .venv"
    python=$(find_python) || exit 1
    if ! "$python" -m venv --clear .venv; then
      rm -rf .venv
      die "$python has no venv module (Debian, Ubuntu: apt-get install python3-venv)"
    fi
  fi
  say "Installing aligngap and what it needs into .venv (about 1 GB; a minute or two)"
  # Half of the time would go into compiling what is never imported; Python compiles what is, once.
  [ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || compile=--compile
  .venv/bin/python -m pip install --quiet --disable-pip-version-check $compile \
    --constraint launch/constraints.txt --editable ".[$extras]" ||
    die "the installation failed; see the lines above"
  echo "$wanted" >".venv/installed-$extras"
}

# An environment for programs whose needs disagree with ours: `environment_beside NAME` makes
# .venv-NAME of exactly what launch/beside/NAME.txt lists; it shares all other packages of .venv.
# Where it cannot be made, the tests that need it are skipped.
environment_beside() {
  local folder=".venv-$1" list="launch/beside/$1.txt" site target wanted
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  wanted=$({ cat "$list"; echo "$site"; } | cksum)
  [ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ] && return
  say "Making $folder"
  .venv/bin/python -m venv --clear --without-pip "$folder"
  target=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  if .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --requirement "$list" --target "$target"; then
    echo "$site" >"$target/main.pth"
    echo "$wanted" >"$folder/installed"
  else
    rm -rf "$folder"
    say "It cannot be made: the tests that need it will be skipped"
  fi
}

# Packages of Debian's, where they may be installed: `debian_package NAME [...]`; else it fails.
debian_package() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  say "Installing $*"
  { apt-get update -qq && apt-get install -qq --no-install-recommends "$@"; } >/dev/null
}

# With tcmalloc a step on a CPU takes up to a third less time (docs/speed.md).
allocator() {
  .venv/bin/python -c 'from aligngap import allocator; exit(not allocator.find())' && return
  debian_package libtcmalloc-minimal4 ||
    say "$(.venv/bin/python -c 'from aligngap import allocator; print(allocator.HINT)')"
}
