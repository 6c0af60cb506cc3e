#!/usr/bin/env bash
# In containers: a master and two workers count the words of 100, 1,000 and 1,000,000 lines (or the number given).
. "$(dirname "$0")/_lesson"
use_docker

step "The image, and from it a master and two workers"
quietly compose build
quietly compose up -d master worker1 worker2
wait_for "two workers Up" workers_are_up 2
expect "workers Up" "$(run metrics system --json | pick 'd["workers_up"]')" -eq 2

for lines in 100 1000 "${1:-1000000}"; do
    step "A word count of $lines lines"
    input="$(data "$lines")"
    quietly run submit --name "demo-$lines" --parallelism 6 --input "$seen/$(basename "$input")" --wait
    echo "  $(run metrics job "demo-$lines" --json | pick 'd["duration_ms"]') ms"
    expect_words "demo-$lines" "$input"
done

step "The workers' metrics, at the ports that are published"
for worker in worker1 worker2; do
    get "http://$(compose port "$worker" 10000)/metrics" >"$lesson/metrics.json"
    expect "tasks of $worker" "$(pick 'd["tasks"]["total_succeeded"]' <"$lesson/metrics.json")" -gt 0
done
