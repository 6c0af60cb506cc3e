#!/usr/bin/env bash
# In a few seconds: one worker, a word count of 100 lines, a join, the metrics.
. "$(dirname "$0")/_lesson"
step "A master and ${WORKERS:-1} worker"
start_cluster --set workers.count="${WORKERS:-1}" --set workers.base_port=0
expect "health" "$(get /health)" = OK
input="$(data 100)"
quietly run submit --name quick --input "$input" --wait
expect_words quick "$input"
quietly run submit-join --name quick-join --wait
joined="$(awk -F, 'FNR == 1 { next } NR == FNR { known[$1]; next } $1 in known' data/products.csv data/sales.csv | wc -l | tr -d ' ')"
expect "lines of the join" "$(sorted_results quick-join | wc -l | tr -d ' ')" -eq "$joined"
expect "jobs that succeeded" "$(run metrics system --json | pick 'd["jobs_succeeded"]')" -eq 2
