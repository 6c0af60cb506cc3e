#!/usr/bin/env bash
# The documented benchmark: 2 workers count the words of 1,000,000 lines in 6 partitions. The report and the figures as
# JSON go to results/. usage: scripts/benchmark_1m.sh [--lines N] [--out DIR]
lines=1000000 out=results
while [ $# -gt 0 ]; do
    case "$1" in
        --lines) lines="${2:?}" ;;
        --out) out="$(mkdir -p "${2:?}" && cd "$2" && pwd)" ;;
        *) echo "usage: scripts/benchmark_1m.sh [--lines N] [--out DIR]" >&2; exit 2 ;;
    esac
    shift 2
done
. "$(dirname "$0")/_lesson"
threads="${WORKER_THREADS:-2}" workers="${WORKERS:-2}" parallelism=6
unset WORKER_THREADS
mkdir -p "$out"

step "$lines lines; $workers workers of $threads threads"
input="$(data "$lines")"
start_workers $(yes "$threads" | head -n "$workers")

step "A word count in $parallelism partitions"
quietly run submit --name benchmark-1m --parallelism "$parallelism" --input "$input" --wait
run metrics job benchmark-1m --json >"$out/benchmark_1m_metrics.json"
run metrics stages benchmark-1m --json >"$out/benchmark_1m_stages.json"
run metrics system --json >"$out/system_metrics.json"
"$PY" - "$out" "$lines" "$workers" "$threads" "$parallelism" <<'PYTHON'
import json
import sys
import time
from pathlib import Path

out = Path(sys.argv[1])
lines, workers, threads, parallelism = map(int, sys.argv[2:])
job, stages, system = (
    json.loads((out / f"{name}.json").read_text())
    for name in ("benchmark_1m_metrics", "benchmark_1m_stages", "system_metrics")
)
figures = {
    "job_id": job["job_id"],
    "lines": lines,
    "workers": workers,
    "threads": threads,
    "parallelism": parallelism,
    "duration_ms": job["duration_ms"],
    "lines_per_second": round(1000 * lines / job["duration_ms"]),
    "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    "system_metrics": system,
    "job_metrics": job,
    "stage_timeline": stages,
}
(out / "benchmark_1m.json").write_text(json.dumps(figures, indent=2) + "\n")
report = [
    f"Word count of {lines:,} lines: {workers} workers of {threads} threads, parallelism {parallelism}",
    f"time        {job['duration_ms']:,} ms",
    f"throughput  {figures['lines_per_second']:,} lines/s",
    f"tasks       {job['completed_tasks']} of {job['total_tasks']}, {job['failed_tasks']} failed",
    "",
    f"{'stage':<24}{'tasks':>6}{'records':>12}",
    *(f"{s['node_id']:<24}{s['tasks_completed']:>6}{s['records_processed']:>12,}" for s in stages),
]
(out / "benchmark_1m_report.txt").write_text("\n".join(report) + "\n")
PYTHON
cat "$out/benchmark_1m_report.txt"
expect "workers" "$(run metrics system --json | pick 'd["workers_up"]')" -eq 2
expect "tasks of each stage" "$(pick '[s["tasks_completed"] for s in d]' <"$out/benchmark_1m_stages.json")" = "[6, 6]"
expect_words benchmark-1m "$input"
echo "The figures are in $out/benchmark_1m.json, _metrics.json, _stages.json, _report.txt and system_metrics.json"
