#!/usr/bin/env bash
# One master and one worker count the words of data/input.csv (or INPUT), from the submit to the results.
. "$(dirname "$0")/_lesson"
input="${INPUT:-data/input.csv}"
export WORKER_THREADS="${WORKER_THREADS:-2}"

step "A master and one worker of $WORKER_THREADS threads"
start_cluster --set workers.count=1 --set workers.base_port=0
expect "workers Up" "$(run metrics system --json | pick 'd["workers_up"]')" -eq 1

step "A word count of $input"
quietly run submit --name wc-single --parallelism 4 --input "$input" --wait
run results wc-single --top 5
expect "state" "$(run status wc-single --json | pick 'd["status"]')" = Succeeded
expect "workers that ran tasks" "$(shares wc-single | wc -l | tr -d ' ')" -eq 1
expect_words wc-single "$input"
