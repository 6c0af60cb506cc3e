#!/usr/bin/env bash
# Every endpoint of metrics answers, and its figures change as they must: before, while and after a job of TASKS tasks
# (default 12) runs.
. "$(dirname "$0")/_lesson"
tasks="${TASKS:-12}"
figure() { get "$1" | pick "$2"; }

step "A master and a worker of 2 threads, before any job"
start_workers 2
worker_url="$(run status --json | pick 'd["workers"][0]["metrics_url"]')"
expect "/health" "$(get /health)" = OK
expect "/api/v1/metrics/system: workers Up" "$(figure /api/v1/metrics/system 'd["workers_up"]')" -eq 1
expect "/api/v1/metrics/system: jobs" "$(figure /api/v1/metrics/system 'd["jobs_total"]')" -eq 0
expect "/api/v1/metrics/jobs: entries" "$(figure /api/v1/metrics/jobs 'len(d)')" -eq 0
expect "the worker's /metrics: tasks" "$(figure "$worker_url" 'd["tasks"]["total_executed"]')" -eq 0

step "While a job runs"
submit_slow measured "$tasks" 0.1
id="$(run status measured --json | pick 'd["id"]')"
wait_for_tasks 2
expect "/api/v1/metrics/system: jobs running" "$(figure /api/v1/metrics/system 'd["jobs_running"]')" -eq 1
expect "/api/v1/metrics/scheduler: total load" "$(figure /api/v1/metrics/scheduler 'd["total_load"]')" -gt 0
expect "/api/v1/jobs/ID/metrics: status" "$(figure "/api/v1/jobs/$id/metrics" 'd["status"]')" = Running
release_tasks
wait_for_end measured

step "Afterwards"
expect "/api/v1/metrics/system: jobs succeeded" "$(figure /api/v1/metrics/system 'd["jobs_succeeded"]')" -eq 1
expect "/api/v1/metrics/system: tasks running" "$(figure /api/v1/metrics/system 'd["tasks_running"]')" -eq 0
expect "/api/v1/metrics/jobs: status" "$(figure /api/v1/metrics/jobs 'd[0]["status"]')" = Completed
expect "/api/v1/jobs/ID/metrics: tasks" "$(figure "/api/v1/jobs/$id/metrics" 'd["completed_tasks"]')" -eq 13
expect "/api/v1/jobs/ID/stages: tasks of each" "$(figure "/api/v1/jobs/$id/stages" '[s["tasks_completed"] for s in d]')" = "[12, 1]"
expect "/api/v1/metrics/failures: of the job" "$(figure /api/v1/metrics/failures "d['job_failures']['$id']")" -eq 0
expect "/api/v1/metrics/scheduler: total load" "$(figure /api/v1/metrics/scheduler 'd["total_load"]')" -eq 0
expect "/api/v1/state: job" "$(figure /api/v1/state "d['jobs']['$id']['status']")" = Succeeded
expect "the worker's /metrics: tasks" "$(figure "$worker_url" 'd["tasks"]["total_succeeded"]')" -eq 13
expect "the worker's /metrics: median latency in ms" "$(figure "$worker_url" 'round(d["tasks"]["p50_latency_ms"])')" -ge 100
expect "the worker's /metrics: memory in use" "$(figure "$worker_url" '0 < d["system"]["memory_used_mb"] < d["system"]["memory_total_mb"]')" = True
expect_slow measured
