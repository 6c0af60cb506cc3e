#!/usr/bin/env bash
# The unit tests: how many passed and how many failed; 1 when one failed. Arguments go to pytest instead of tests/unit.
set -euo pipefail
. "$(dirname "$0")/_env" test
said="$(mktemp "${TMPDIR:-/tmp}/minispark-run-tests-XXXXXX")"
trap 'rm -f "$said"' EXIT
if [ $# -eq 0 ]; then set -- tests/unit tests/architecture -n 2; fi
status=0
"$PY" -m pytest -q "$@" >"$said" 2>&1 || status=$?
count() { tail -n 1 "$said" | grep -oE "[0-9]+ $1" | cut -d ' ' -f 1 || echo 0; }
if [ "$status" -ne 0 ]; then cat "$said"; fi
printf 'passed  %s\nfailed  %s\n' "$(count passed)" "$(count failed)"
[ "$status" -eq 0 ] && [ "$(count failed)" -eq 0 ] && [ "$(count passed)" -gt 0 ]
