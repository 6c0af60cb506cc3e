#!/usr/bin/env bash
# Each metrics command of the client says what the master's endpoint says, after a word count of JOBS jobs (default 2).
. "$(dirname "$0")/_lesson"
jobs="${JOBS:-2}"

step "A master, two workers, $jobs word counts"
start_workers 1 1
for number in $(seq "$jobs"); do
    quietly run submit --name "wc-$number" --wait
done
id="$(run status wc-2 --json | pick 'd["id"]')"

for command in system jobs failures scheduler "job wc-2" "stages wc-2"; do
    step "\$ minispark metrics $command"
    run metrics $command
    case "$command" in
        "job "*) path="/api/v1/jobs/$id/metrics" ;;
        "stages "*) path="/api/v1/jobs/$id/stages" ;;
        *) path="/api/v1/metrics/$command" ;;
    esac
    run metrics $command --json | pick 'json.dumps(d, sort_keys=True, indent=1)' >"$lesson/said"
    get "$path" | pick 'json.dumps(d, sort_keys=True, indent=1)' >"$lesson/answered"
    expect_same "the command's figures, and those of $path" "$lesson/said" "$lesson/answered"
done
expect "jobs with metrics" "$(run metrics jobs --json | pick 'sum(j["status"] == "Completed" for j in d)')" -eq 2
