#!/bin/sh
# Makes .venv ready to run the project, or says in one line what is wrong. It is quick if nothing has changed since.
# PYTHON=/path/to/python chooses the interpreter. All output of pip goes to .venv/set_up.log.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd)
log=.venv/set_up.log

stop() {
    printf 'set-up: %s\n' "$1" >&2
    exit 1
}

find_python() {
    # 3.11 comes first because constraints.txt was made with it.
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.11 python3.12 python3.13 python3.10 python3 python; fi
    without_venv=
    for python; do
        "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null || continue
        "$python" -c 'import ensurepip, venv' 2>/dev/null && return
        without_venv=$python
    done
    [ -z "$without_venv" ] ||
        stop "$without_venv has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv) and run the command again"
    stop "no Python 3.10 to 3.13 found; install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.11) or name yours: PYTHON=/path/to/python3.11"
}

# The folder is in the stamp because a moved environment has wrong paths in its scripts.
stamp="$(cksum pyproject.toml constraints.txt) $here"
old=$(cat .venv/set_up.stamp 2>/dev/null || true)
.venv/bin/python -c '' 2>/dev/null || old=
if [ "$old" = "$stamp" ]; then exit 0; fi

other=$(cat .venv/set_up.pid 2>/dev/null || true)
if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
    stop "another set-up is running (process $other); wait for it, then run the command again"
fi

case $old in
*" $here") # complete, but for other requirements: pip changes what has to change
    task='bringing .venv up to date'
    ;;
*)
    # .venv is absent, moved, or was interrupted, so that its packages may be incomplete: start afresh (downloads are in
    # pip's cache). This script deletes no environment that it did not make.
    rmdir .venv 2>/dev/null || true
    [ ! -e .venv ] || [ -f "$log" ] ||
        stop ".venv is there but was not made by this script; move it away and run the command again"
    find_python
    free=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ "$free" -ge 2500000 ] ||
        stop "only $((free / 1000)) MB of disk are free here and 2500 MB are needed; make room and run the command again"
    { rm -rf .venv && mkdir .venv && : > "$log"; } 2>/dev/null ||
        stop "cannot write to $here; use a folder that is yours and run the command again"
    task='installing about 150 packages (1.5 GB) into .venv, one to ten minutes'
    ;;
esac

rm -f .venv/set_up.stamp
: > "$log"
echo $$ > .venv/set_up.pid
dots=
trap 'kill $dots 2>/dev/null || true; rm -f .venv/set_up.pid' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

printf 'set-up: %s; details in %s ' "$task" "$log"
# Print a dot every five seconds while this script lives. The sleep is cut off from the output, so that a reader of the
# output does not wait for the last sleep.
while sleep 5 </dev/null >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do printf .; done & dots=$!

failed=
{
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    # --no-compile halves the time; Python compiles each module when it is first used.
    .venv/bin/python -m pip install --no-compile --no-input --disable-pip-version-check \
        -c constraints.txt -e '.[test,dev]'
} >> "$log" 2>&1 || failed=yes
echo

if [ -n "$failed" ]; then
    if grep -q 'No space left on device' "$log"; then
        stop "the disk is full; make room (PyTorch for NVIDIA cards alone takes 6 GB) and run the command again"
    elif grep -Eq 'NewConnectionError|Failed to establish|ame ?[rR]esolution|imed out|Timeout|ProxyError|SSLError|Connection refused|HTTP error' "$log"; then
        stop "the package index cannot be reached; check the network (or pip's index and proxy settings) and run the command again"
    fi
    tail -n 8 "$log" >&2
    stop "the installation failed as shown above; the whole log is $log"
fi
printf '%s' "$stamp" > .venv/set_up.stamp
