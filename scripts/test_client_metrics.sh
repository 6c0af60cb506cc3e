#!/usr/bin/env bash
# The other documented name of test_metrics_client.sh.
exec "$(dirname "$0")/test_metrics_client.sh" "$@"
