#!/usr/bin/env bash
# Runs the scenarios on the Erlang/OTP that is on the PATH and prints what they saw, one line each.
#   bash tests/signals/erlang/run.sh > tests/signals/erlang/expected.txt
# An argument multiplies all durations, for a machine that is slow.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
beams="$(mktemp -d)"
trap 'rm -rf "$beams"' EXIT
erlc -o "$beams" "$here"/*.erl
# Some scenarios have a second node, hence the name. No epmd: it would stay behind.
export HOME="$beams" ERL_CRASH_DUMP=/dev/null
erl -noshell -pa "$beams" -name near@127.0.0.1 -start_epmd false -epmd_module ports -dist_listen false \
    -s scenarios main -extra "${1:-1}"
