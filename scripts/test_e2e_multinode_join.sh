#!/usr/bin/env bash
# Three workers with 1, 2 and 3 threads join the given number of sales (1,000) with a tenth as many products.
. "$(dirname "$0")/_lesson"
sales="${1:-1000}"

step "A master and three workers with 1, 2 and 3 threads"
start_workers 1 2 3
expect "workers Up" "$(run metrics system --json | pick 'd["workers_up"]')" -eq 3

step "A join of $sales sales and their products in 12 partitions"
"$PY" scripts/make_data join --lines "$sales" --out "$lesson" >/dev/null
quietly run submit-join --name join-multi --parallelism 12 \
    --sales "$lesson/sales.csv" --products "$lesson/products.csv" --wait
run results join-multi --limit 3
ran="$(run status join-multi --json | pick 'len({a["worker"] for a in d["attempts"] if a["state"] == "SUCCEEDED"})')"
expect "workers that ran its tasks" "$ran" -eq 3
expect "tasks that failed" "$(run metrics job join-multi --json | pick 'd["failed_tasks"]')" -eq 0
sorted_results join-multi >"$lesson/found.tsv"
awk -F, 'FNR == 1 { next } NR == FNR { name[$1] = $2; next } $1 in name { print $1 "\t(" $2 "," name[$1] ")" }' \
    "$lesson/products.csv" "$lesson/sales.csv" | LC_ALL=C sort >"$lesson/joined.tsv"
expect "lines of the join" "$(wc -l <"$lesson/joined.tsv" | tr -d ' ')" -eq "$sales"
expect_same "the join, and as awk makes it" "$lesson/found.tsv" "$lesson/joined.tsv"
