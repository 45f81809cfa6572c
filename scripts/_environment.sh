# Sourced by the scripts beside it: one virtual environment, made and filled when it must be, left alone when it need not.
#
#   use_environment EXTRA    afterwards $PYTHON is the environment's own Python, with nlptl[EXTRA] installed
#
# NLPTL_VENV    where the environment stands (default: .venv in the project); an active one is never touched
# NLPTL_PYTHON  the Python that makes it (default: python3.11, else the first one that is new enough)

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="${NLPTL_VENV:-$ROOT/.venv}"
case "$VENV" in /*) ;; *) VENV="$PWD/$VENV" ;; esac
PYTHON="$VENV/bin/python"
TORCH="$(grep '^torch==' "$ROOT/constraints.txt")"

# Whatever is active or configured outside must not reach inside.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PYTHONNOUSERSITE=1 PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

# Runs a command with a limit in seconds, where the system has a way to set one.
bounded() {
    local limit="$1"
    shift
    if command -v timeout >/dev/null 2>&1; then
        timeout --kill-after=15 "$limit" "$@"
    else
        "$@"
    fi
}

# Package indexes are slow at times, and a stalled connection is not a refusal: three tries, each bounded.
install() {
    local try quiet=()
    [ -t 1 ] || quiet=(--quiet --progress-bar off)
    for try in 1 2 3; do
        # From the project's folder, by relative names: pip splits the variables' values at spaces.
        if (
            cd "$ROOT"
            PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
                bounded 900 "$PYTHON" -m pip install "${quiet[@]+"${quiet[@]}"}" "$@" </dev/null
        ); then
            return 0
        fi
        printf 'pip install %s: try %s of 3 did not succeed\n' "$*" "$try" >&2
        sleep $((try * 3))
    done
    fail "pip could not install $*; its own message stands above. Run the script again to go on from here."
}

find_python() {
    local candidate
    for candidate in ${NLPTL_PYTHON:+"$NLPTL_PYTHON"} python3.11 python3 python3.12 python3.13 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    fail "no Python 3.11 or newer found; install one, or name it in NLPTL_PYTHON."
}

# What an installation depends on; a moved project is another one, since an editable install holds its path.
fingerprint() {
    cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" "$ROOT/nlptl/_version.py" | cksum
    printf '%s\n' "$ROOT"
    "$PYTHON" -c 'import sys; print(sys.version)'
}

is_current() {
    local stamp="$VENV/.nlptl-$1"
    [ -f "$stamp" ] && [ -x "$PYTHON" ] && [ "$(cat "$stamp")" = "$(fingerprint 2>/dev/null)" ]
}

use_environment() {
    local extra="$1" base started=$SECONDS
    if is_current "$extra" || is_current dev; then # dev holds every other extra
        return 0
    fi
    if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then # absent, or cut short while it was made
        if [ -n "$(ls -A "$VENV" 2>/dev/null)" ] && [ ! -f "$VENV/pyvenv.cfg" ]; then
            fail "$VENV is not empty and no virtual environment; name another folder in NLPTL_VENV."
        fi
        base="$(find_python)"
        say "making a virtual environment in $VENV"
        "$base" -m venv --clear "$VENV" ||
            fail "'$base -m venv' did not succeed; on Debian and Ubuntu it needs the package python3-venv."
    fi
    say "installing nlptl[$extra] into $VENV (once; minutes where nothing is cached)"
    # torch first and by its exact version: a range would bring the newest build, gigabytes of CUDA with it.
    install "$TORCH"
    install -e ".[$extra]"
    fingerprint >"$VENV/.nlptl-$extra"
    printf 'installed in %s s\n' "$((SECONDS - started))"
}
