#!/usr/bin/env bash
# Two faults, and the same results as without: tasks that fail by FAIL_PROBABILITY (default 30), and a worker that is
# killed in the middle of a job.
. "$(dirname "$0")/_lesson"
export FAIL_PROBABILITY="${FAIL_PROBABILITY:-30}"

step "1. Three workers whose tasks fail with $FAIL_PROBABILITY%"
MAX_TASK_ATTEMPTS=20 start_workers 1 1 1
input="$(data 1000)"
quietly run submit --name failing --parallelism 16 --input "$input" --wait
expect "failed_tasks" "$(run metrics job failing --json | pick 'd["failed_tasks"]')" -gt 0
expect_words failing "$input"
stop_cluster

step "2. Three workers, of which one is killed in the middle of a job of 24 tasks"
FAIL_PROBABILITY=0 start_workers 1 1 1
submit_slow killed 24 0.05
wait_for_tasks 3
run chaos kill-worker "${VICTIM:-worker-2}"
lost() { run status killed --json | pick 'sum(a["state"] == "LOST" and a["worker"] == "worker-2" for a in d["attempts"])'; }
is_noticed() { run status killed --json | pick 'any(a["state"] == "LOST" for a in d["attempts"])' | grep -qx True; }
wait_for "the master's reaction" is_noticed
expect "tasks that worker-2 held, which run again" "$(lost)" -gt 0
release_tasks
wait_for_end killed
expect_slow killed
wait_for "worker-2 Up again" workers_are_up 3
expect "workers down, now that the supervisor started another worker-2" \
    "$(run metrics failures --json | pick 'd["workers_down"]')" -eq 0
