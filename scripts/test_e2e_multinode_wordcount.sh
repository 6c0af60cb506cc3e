#!/usr/bin/env bash
# Three workers with 1, 2 and 3 threads share a word count of the given number of lines (10,000).
. "$(dirname "$0")/_lesson"
lines="${1:-10000}"

step "A master and three workers with 1, 2 and 3 threads"
start_workers 1 2 3
expect "workers Up" "$(run metrics system --json | pick 'd["workers_up"]')" -eq 3

step "A word count of $lines lines in 24 partitions"
input="$(data "$lines")"
quietly run submit --name wc-multi --parallelism 24 --input "$input" --wait
run results wc-multi --top 3
shares wc-multi
expect "workers that ran its first stage" "$(shares wc-multi | wc -l | tr -d ' ')" -eq 3
expect "tasks completed" "$(run metrics job wc-multi --json | pick 'd["completed_tasks"] == d["total_tasks"] == 48')" = True
expect_words wc-multi "$input"
expect "records of the last stage, as its metrics say" \
    "$(run metrics stages wc-multi --json | pick 'd[-1]["records_processed"]')" -eq "$(wc -l <"$lesson/found.tsv")"
