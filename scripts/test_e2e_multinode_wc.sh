#!/usr/bin/env bash
# The other documented name of test_e2e_multinode_wordcount.sh.
exec "$(dirname "$0")/test_e2e_multinode_wordcount.sh" "$@"
