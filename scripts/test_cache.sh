#!/usr/bin/env bash
# A cache of CACHE_MAX_MB (default 1) spills to disk and is read from there; and the state of jobs outlives the master.
. "$(dirname "$0")/_lesson"
export CACHE_MAX_MB="${CACHE_MAX_MB:-1}" SAVE_INTERVAL_SECS=0.2

step "One worker whose cache holds $CACHE_MAX_MB MB; two jobs that keep the words of one file"
start_workers 2
input="$(data 30000)"
cat >"$lesson/cached.yaml" <<YAML
name: cached
parallelism: 4
dag:
  nodes:
    - {id: read, op: read_csv, path: $input}
    - {id: words, op: flat_map, fn: split_words, cache: true}
    - {id: pairs, op: map, fn: pair_with_one}
    - {id: count, op: reduce_by_key, fn: sum}
  edges: [[read, words], [words, pairs], [pairs, count]]
YAML
worker_url="$(run status --json | pick 'd["workers"][0]["metrics_url"]')"
quietly run submit "$lesson/cached.yaml" --name cold --wait
expect "misses of the first job" "$(get "$worker_url" | pick 'd["cache_misses"]')" -eq 4
quietly run submit "$lesson/cached.yaml" --name warm --wait
expect "hits of the second" "$(get "$worker_url" | pick 'd["cache_hits"]')" -eq 4
expect "cache_memory_mb is within CACHE_MAX_MB" "$(get "$worker_url" | pick "d['cache_memory_mb'] <= $CACHE_MAX_MB")" = True
expect "files in spill/" "$(find "$lesson/state/spill" -type f 2>/dev/null | wc -l | tr -d ' ')" -gt 0
expect_words cold "$input"
expect_words warm "$input"

step "state/jobs.json, and what another master makes of it"
is_saved() { grep -qs '"Succeeded"' "$lesson/state/state/jobs.json" && grep -q '"warm"' "$lesson/state/state/jobs.json"; }
wait_for "jobs.json with both jobs" is_saved
jobs='", ".join(sorted(j["name"] + " " + j["status"] for j in d["jobs"].values()))'
before="$(pick "$jobs" <"$lesson/state/state/jobs.json")"
quietly run restart master
expect "jobs of /api/v1/state after a restart" "$(get /api/v1/state | pick "$jobs")" = "$before"
expect "jobs" "$before" = "cold Succeeded, warm Succeeded"
