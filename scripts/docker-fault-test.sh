#!/usr/bin/env bash
# In containers: worker1 is killed in the middle of a job, which ends all the same; worker-flaky, of whose tasks 30% fail,
# joins, and a word count is right all the same.
. "$(dirname "$0")/_lesson"
use_docker

step "A master and two workers"
quietly compose build
quietly compose up -d master worker1 worker2
wait_for "two workers Up" workers_are_up 2

step "A job of 24 tasks; worker1 is killed while it holds some"
submit_slow killed 24 0.1
both_are_busy() { run metrics scheduler --json | pick 'min(d["worker_loads"].values())' | grep -qv '^0$'; }
wait_for "both workers busy" both_are_busy
quietly compose kill "${VICTIM:-worker1}"
wait_for "one worker Up" workers_are_up 1
expect "workers down" "$(run metrics failures --json | pick 'd["workers_down"]')" -eq 1
release_tasks
wait_for_end killed
lost="$(run status killed --json | pick 'sum(a["state"] == "LOST" and a["worker"] == "worker1" for a in d["attempts"])')"
expect "tasks lost with worker1, and run again" "$lost" -gt 0
expect_slow killed

step "worker1 again, and worker-flaky"
quietly compose --profile test up -d "${VICTIM:-worker1}" worker-flaky
wait_for "three workers Up" workers_are_up 3
input="$(data 1000)"
quietly run submit --name flaky --parallelism 24 --input "$seen/$(basename "$input")" --wait
expect_words flaky "$input"
