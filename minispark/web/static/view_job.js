// One job: its DAG, stages, attempts, errors and result. Must not know how they are asked for.

import { dagView } from "./dag.js";
import { h, own } from "./dom.js";
import { count, date, duration, NONE, percent } from "./format.js";
import { isNumber, RECORDS_MAX, RESULT_ROWS } from "./largest.js";
import { badge, button, empty, loading, panel, progress, table } from "./parts.js";
import { operatorTable, stageTable } from "./stages.js";
import { keyOf, timelineView } from "./timeline.js";
import { t } from "./words.js";

const ERRORS_SHOWN = 50;
const VALUE_CHARS = 400;
const ORDERS = ["stored", "largest"];

export function jobView(store) {
  const { job } = store;
  if (job.error) return [missing(job.error, job.id)];
  if (job.info === null) return [h("h1", {}, t("job")), loading()];
  const { info, stages, profile, attempts, plan } = job;
  const now = store.now();
  return [
    heading(info, job, now),
    info.state === "FAILED" ? failure(info) : null,
    panel(t("dag"), { "data-key": "dag" }, dagView(info, plan, stages, store.room)),
    panel(t("timeline"), { "data-key": "timeline", tools: zoomButtons(store) },
      attempts.length ? timelineView(attempts, job.attemptsTotal, now, store)
        : empty(t("timeline.none"), info.note)),
    attempts.some(isFailed) ? panel(t("errors"), { "data-key": "errors" }, errorList(attempts)) : null,
    panel(t("stages"), { "data-key": "stages" },
      stages.length ? stageTable(stages, profile, info.state, profile?.ended_at ?? now, attempts) : empty(t("stages.none"), info.note)),
    profile ? panel(t("operators"), { "data-key": "operators" }, operatorTable(profile, isOpen(info))) : null,
    panel(t("result"), { "data-key": "result", tools: info.state === "SUCCEEDED" ? resultTools(job) : null }, result(job)),
  ];
}

function missing(error, id) {
  const isGone = error.status === 404;
  return h("section", { class: "panel missing" },
    h("h1", {}, t(isGone ? "job.missing" : "error")),
    h("p", {}, isGone ? t("job.missing.text") : own(error.message)),
    isGone ? h("p", {}, h("code", {}, own(id))) : null,
    h("p", { class: "actions" }, h("a", { class: "button", href: "#/jobs" }, t("jobs.all"))));
}

function heading(info, { summary }, now) {
  const began = summary?.started_at ?? null;
  const took = info.duration_ms !== null ? info.duration_ms / 1000 : began === null ? null : now - began;
  const facts = [
    [t("job.time"), duration(took)],
    [t("job.tasks"), `${count(info.tasks.completed)} / ${count(total(info.tasks))}`],
    [t("retries"), count(info.retries)],
    [t("submit.plan"), info.plan ?? NONE],
    ...(info.request.engine === "spark" ? [[t("job.engine"), "Apache Spark"]] : []),
    [t("job.submitted"), date(info.created_at)],
    ["id", info.id],
  ];
  return h("section", { class: "job-head panel", "data-key": "head" },
    h("div", { class: "line" },
      h("h1", {}, own(info.request.name, { title: info.request.name })),
      h("div", { class: "actions" }, badge(info.state),
        isOpen(info) ? button(t("action.cancel"), "cancel", { class: "danger", "data-id": info.id, "aria-label": t("action.cancel.label", { name: info.request.name }) }) : null)),
    h("div", { class: "line big" },
      progress(info.progress, t("job.progress", { name: info.request.name }), info.state),
      h("strong", {}, percent(info.progress))),
    info.note && isOpen(info) ? h("p", { class: "hint" }, own(info.note)) : null,
    info.warnings.length ? h("ul", { class: "warnings" }, info.warnings.map((text) => h("li", {}, own(text)))) : null,
    h("dl", { class: "facts wide" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

function isOpen(info) {
  return info.state === "PENDING" || info.state === "RUNNING";
}

function total({ pending, running, completed, failed }) {
  return pending + running + completed + failed;
}

function failure(info) {
  const message = info.status?.Failed ?? "";
  return h("section", { class: "panel failure", role: "alert", "data-key": "failure" },
    h("h2", {}, t("job.failed")), h("pre", { class: "trace", tabindex: 0, "aria-label": t("error") }, own(message)));
}

function zoomButtons({ zoom }) {
  return h("div", { class: "actions", role: "group", "aria-label": t("zoom") },
    button("−", "zoom", { "data-by": "0.5", disabled: zoom <= 1, "aria-label": t("zoom.out") }),
    button("+", "zoom", { "data-by": "2", disabled: zoom >= 32, "aria-label": t("zoom.in") }));
}

function isFailed(attempt) {
  return (attempt.state === "FAILED" || attempt.state === "LOST") && attempt.error !== null;
}

function errorList(attempts) {
  const failed = attempts.filter(isFailed);
  return [
    h("div", { class: "errors" }, failed.slice(0, ERRORS_SHOWN).map((attempt) =>
      h("details", { "data-key": keyOf(attempt) },
        h("summary", {}, badge(attempt.state), " ",
          own(`${attempt.node_id}/${attempt.partition_id}`), " ", t("attempt.number", { number: attempt.attempt }), " ",
          own(attempt.worker ?? "", { class: "who" }), " ", own(firstWords(attempt.error), { class: "said" })),
        h("pre", { class: "trace", tabindex: 0, "aria-label": t("error") }, own(attempt.error))))),
    failed.length > ERRORS_SHOWN ? h("p", { class: "hint" }, t("errors.more", { shown: ERRORS_SHOWN, total: failed.length })) : null,
  ];
}

/** What went wrong stands in the last line of a traceback. */
function firstWords(error) {
  const lines = error.trim().split("\n");
  return lines.at(lines[0].startsWith("Traceback") ? -1 : 0);
}

function resultTools(job) {
  const choice = (order) => button(t(`result.${order}`), "order", {
    class: "small-button", "data-order": order, "aria-pressed": job.order === order ? "true" : "false",
  });
  return h("div", { class: "actions result-tools" },
    h("div", { class: "choices", role: "group", "aria-label": t("result.order") }, ORDERS.map(choice)),
    downloads(job.id));
}

function downloads(id) {
  const link = (format) =>
    h("a", { href: `/api/v1/jobs/${id}/results?format=${format}`, download: `${id}.${format}` }, format.toUpperCase());
  return h("div", { class: "actions" }, h("span", { class: "hint" }, t("result.all")), ["jsonl", "csv", "tsv"].map(link));
}

function result({ info, order, heads, isCut, resultError }) {
  if (info.state === "FAILED" || info.state === "CANCELLED") return empty(t("result.never"), null);
  if (info.state !== "SUCCEEDED") return empty(t("result.later"), null);
  if (resultError) return h("p", { class: "error" }, own(resultError));
  const rows = heads[order];
  if (rows === null) return loading();
  if (!rows.length) return empty(t("result.empty"), null);
  const kind = rows.every((row) => isNumber(row.value)) ? "number" : "";
  const columns = [{ title: t("key") }, { title: t("value"), kind }];
  return [
    table(t("result"), columns, rows.map((row, index) => h("tr", { "data-key": index },
      h("td", { class: "value" }, own(shown(row.key))), h("td", { class: `value ${kind}` }, own(shown(row.value))))),
      { class: "scroll result-table" }),
    rows.length === RESULT_ROWS ? h("p", { class: "hint" }, t(`result.head.${order}`, { rows: RESULT_ROWS })) : null,
    order === "largest" && isCut ? h("p", { class: "hint" }, t("result.cut", { seen: count(RECORDS_MAX) })) : null,
  ];
}

function shown(value) {
  const text = typeof value === "string" ? value : value === null ? NONE : JSON.stringify(value);
  return text.length > VALUE_CHARS ? `${text.slice(0, VALUE_CHARS)}…` : text;
}
