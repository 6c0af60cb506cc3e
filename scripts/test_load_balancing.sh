#!/usr/bin/env bash
# Work goes where there is room: a worker of THREADS threads (default 3) gets three times what a worker of one gets, and
# does more of it.
. "$(dirname "$0")/_lesson"
threads="${THREADS:-3}"

step "worker-1 of 1 thread, worker-2 of $threads; a job of 40 tasks of 0.15 s, which wait at first"
start_workers 1 "$threads"
submit_slow balanced 40 0.15
loads() { run metrics scheduler --json | pick 'sorted(d["worker_loads"].values())'; }
wait_for_tasks $((1 + threads))
expect "worker_loads (each thread's, and twice as many queued)" "$(loads)" = "[3, 9]"
release_tasks
wait_for_end balanced
shares balanced
small="$(shares balanced | awk '$1 == "worker-1" { print $2 }')"
large="$(shares balanced | awk '$1 == "worker-2" { print $2 }')"
expect "all tasks" $((small + large)) -eq 40
expect "tasks of worker-2, over half as many again as worker-1" "$large" -ge $((small + small / 2))
expect "worker_loads, now that all is done" "$(loads)" = "[0, 0]"
expect "max_load_diff" "$(run metrics scheduler --json | pick 'd["max_load_diff"]')" -eq 2
expect_slow balanced
