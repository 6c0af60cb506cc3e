#!/usr/bin/env bash
# The other documented name of test_failure_retries.sh.
exec "$(dirname "$0")/test_failure_retries.sh" "$@"
