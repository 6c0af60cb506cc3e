// The stages of a job as a table, and the records and bytes of their operators.
// Must not know how they are asked for.

import { h, own } from "./dom.js";
import { bytes, count, duration, NONE } from "./format.js";
import { badge, progress, table } from "./parts.js";
import { t } from "./words.js";

/** `until`: when the job ended, or now; `jobState`: what became of it; `attempts`: as far as they are known. */
export function stageTable(stages, profile, jobState, until, attempts) {
  const columns = [
    { title: "#", kind: "number" }, { title: t("stage") }, { title: t("job.state") }, { title: t("job.done") },
    { title: t("job.tasks"), kind: "number" }, { title: t("failed"), kind: "number" },
    { title: t("records"), kind: "number" }, { title: t("read"), kind: "number" },
    { title: t("written"), kind: "number" }, { title: t("spilled"), kind: "number" },
    { title: t("job.time"), kind: "number" },
  ];
  return table(t("stages"), columns, stages.map((stage, index) => stageRow(stage, index, profile?.stages[index], jobState, until, firstBegin(stage, attempts))));
}

/** Of a stage whose job is over, nothing runs any more; a skipped one is read from the cache. */
export function stageState(stage, jobState) {
  if (stage.tasks_total === 0 && stage.tasks_skipped) return "SKIPPED";
  if (stage.tasks_completed === stage.tasks_total) return "SUCCEEDED";
  if (jobState === "FAILED") return stage.failed_attempts ? "FAILED" : "CANCELLED";
  if (jobState === "CANCELLED") return "CANCELLED";
  return stage.tasks_running || stage.tasks_completed ? "RUNNING" : "PENDING";
}

/** When the first of its attempts began; the stage itself says that in whole seconds only. */
function firstBegin(stage, attempts) {
  const begun = attempts.filter((one) => one.node_id === stage.node_id && one.started_at !== null);
  return begun.length ? begun.reduce((first, one) => Math.min(first, one.started_at), Infinity) : null;
}

function stageRow(stage, index, measured, jobState, until, begin) {
  const state = stageState(stage, jobState);
  const figures = measured?.figures ?? null;
  const from = figures?.first_started_at ?? begin ?? stage.start_time;
  const to = figures?.completed_at ?? stage.end_time ?? until;
  return h("tr", { "data-key": index },
    h("td", { class: "number" }, index),
    h("th", { scope: "row", class: "name" }, own(stage.node_id, { title: stage.node_id })),
    h("td", {}, badge(state)),
    h("td", { class: "part" }, progress(stage.tasks_total ? (100 * stage.tasks_completed) / stage.tasks_total : 0, stage.node_id, state)),
    h("td", { class: "number" }, `${count(stage.tasks_completed)} / ${count(stage.tasks_total)}`),
    h("td", { class: stage.failed_attempts ? "number failed" : "number" }, count(stage.failed_attempts)),
    h("td", { class: "number" }, count(stage.records_processed)),
    h("td", { class: "number" }, bytes(figures?.bytes_read)),
    h("td", { class: "number" }, bytes(figures?.bytes_written)),
    h("td", { class: "number" }, bytes(figures?.bytes_spilled)),
    h("td", { class: "number" }, from ? duration(Math.max(0, to - from)) : NONE));
}

export function operatorTable(profile, isOpen) {
  const rows = profile.stages.flatMap((stage) =>
    stage.operators.map((line, index) => h("tr", { "data-key": `${stage.index}/${index}` },
      h("td", { class: "number" }, index === 0 ? stage.index : ""),
      h("th", { scope: "row", class: "what" }, own(line.what)),
      h("td", { class: "number" }, count(line.records)),
      h("td", { class: "number" }, bytes(line.bytes)),
      h("td", { class: "number" }, bytes(line.bytes_spilled)),
      h("td", { class: "number" }, line.us === null ? NONE : duration(line.us / 1e6)))));
  const columns = [
    { title: "#", kind: "number" }, { title: t("operator") }, { title: t("records"), kind: "number" },
    { title: t("bytes"), kind: "number" }, { title: t("spilled"), kind: "number" }, { title: t("operator.time"), kind: "number" },
  ];
  const isPartial = isOpen && profile.stages.some((stage) => stage.figures === null);
  return [table(t("operators"), columns, rows), isPartial ? h("p", { class: "hint" }, t("operators.later")) : null];
}
