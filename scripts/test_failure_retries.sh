#!/usr/bin/env bash
# Tasks of a worker fail with FAIL_PROBABILITY (default 50) per cent, and are tried again until they succeed; where no
# retries are left the job fails.
. "$(dirname "$0")/_lesson"
export FAIL_PROBABILITY="${FAIL_PROBABILITY:-50}"

step "A worker of 4 threads whose tasks fail with $FAIL_PROBABILITY%; each may be retried 20 times"
MAX_TASK_ATTEMPTS=20 start_workers 4
input="$(data 1000)"
quietly run submit --name retries --parallelism 8 --input "$input" --wait
id="$(run status retries --json | pick 'd["id"]')"
expect "state" "$(run status retries --json | pick 'd["status"]')" = Succeeded
expect "job_failures" "$(run metrics failures --json | pick "d['job_failures']['$id']")" -gt 0
expect "retries_total" "$(run metrics failures --json | pick 'd["retries_total"]')" -gt 0
expect "failed tasks of the worker" "$(get "$(run status --json | pick 'd["workers"][0]["metrics_url"]')" | pick 'd["tasks"]["total_failed"]')" -gt 0
expect_words retries "$input"
stop_cluster

step "Every task fails, and is retried twice: the job fails"
MAX_TASK_ATTEMPTS=2 FAIL_PROBABILITY=100 start_workers 1
! run -q submit --name hopeless --parallelism 1 --input "$input" --wait >/dev/null 2>&1 ||
    expect "the job" succeeded = failed
expect "state" "$(run status hopeless --json | pick 'd["state"]')" = FAILED
expect "attempts at its first task" "$(run status hopeless --json | pick 'len(d["attempts"])')" -eq 3
