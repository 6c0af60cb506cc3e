#!/usr/bin/env bash
# A worker of WORKER_THREADS threads (default 4) runs as many tasks at once.
. "$(dirname "$0")/_lesson"
threads="${WORKER_THREADS:-4}"
unset WORKER_THREADS

step "One worker of $threads threads; a job of 8 tasks of 0.5 s, which wait at first"
start_workers "$threads"
submit_slow parallel 8 0.5
wait_for_tasks "$threads"
sleep 0.5 # and no more than that
expect "tasks that run at once" "$(ls "$lesson/started" | wc -l | tr -d ' ')" -eq 4
executors="$(run ps --json | pick '[len(p["executors"]) for p in d["processes"] if p["name"] == "worker-1"][0]')"
expect "processes of the worker that run tasks" "$executors" -ge 4
release_tasks
wait_for_end parallel
echo "  8 tasks of 500 ms took $(run status parallel --json | pick 'd["duration_ms"]') ms, of which they waited at first"
worker_url="$(run status --json | pick 'd["workers"][0]["metrics_url"]')"
expect "tasks of the worker" "$(get "$worker_url" | pick 'd["tasks"]["total_succeeded"]')" -eq 9
expect_slow parallel
