#!/usr/bin/env bash
# WORKERS equal workers (default 3) get equal shares of 24 equal tasks, one after the other in turn.
. "$(dirname "$0")/_lesson"
workers="${WORKERS:-3}"

step "$workers workers of 1 thread; a job of 24 tasks of 0.2 s, which wait at first"
start_workers $(yes 1 | head -n "$workers")
submit_slow turns 24 0.2
loads() { run metrics scheduler --json | pick 'sorted(d["worker_loads"].values())'; }
wait_for_tasks "$workers"
expect "worker_loads (a thread each, and what it queued)" "$(loads)" = "[3, 3, 3]"
release_tasks
wait_for_end turns
shares turns
first="$(run status turns --json | pick '",".join(sorted(a["worker"] for a in sorted(
    (a for a in d["attempts"] if a["stage"] == 0), key=lambda a: (a["assigned_at"], a["partition_id"]))[:3]))')"
expect "workers of the first three tasks" "$first" = worker-1,worker-2,worker-3
expect "tasks of the worker with fewest; an equal share is 8" "$(shares turns | awk '{ print $2 }' | sort -n | head -n 1)" -ge 4
expect "worker_loads, now that all is done" "$(loads)" = "[0, 0, 0]"
expect "next_index, a place in the circle" "$(run metrics scheduler --json | pick 'd["next_index"]')" -lt 3
expect_slow turns
