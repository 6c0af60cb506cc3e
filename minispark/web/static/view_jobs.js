// All jobs, and a form that submits another one. Must not know how a job runs.

import { h, own } from "./dom.js";
import { count, date, duration, moment, NONE, percent } from "./format.js";
import { badge, button, empty, jobLink, loading, panel, progress, table } from "./parts.js";
import { t } from "./words.js";

const SHOWN = 200;

export const SAMPLE = `{
  "name": "longest-words",
  "dag": {
    "nodes": [
      {"id": "read", "op": "read_text",
       "path": "data/input.csv"},
      {"id": "words", "op": "flat_map",
       "fn": "split_words"},
      {"id": "long", "op": "filter",
       "fn": "is_long"},
      {"id": "pair", "op": "map",
       "fn": "pair_with_one"},
      {"id": "count", "op": "reduce_by_key",
       "fn": "sum", "key": "word"}
    ],
    "edges": [
      ["read", "words"], ["words", "long"],
      ["long", "pair"], ["pair", "count"]
    ]
  },
  "parallelism": 4
}`;

export function jobsView(store) {
  const overview = store.overview;
  return [
    h("h1", { class: "visually-hidden" }, t("nav.jobs")),
    h("div", { class: `columns jobs ${store.submit.kind}` },
      panel(t("submit.title"), { class: "submit" }, submitForm(store)),
      panel(t("nav.jobs"), { class: "wide" },
        overview === null ? loading() : overview.jobs.length ? jobTable(overview, store)
          : empty(t("jobs.none"), t("jobs.none.text")))),
  ];
}

function submitForm({ submit }) {
  const tab = (name) => button(t(`submit.${name}`), "submit-kind", {
    "data-kind": name, "aria-pressed": submit.kind === name ? "true" : "false",
  });
  return [
    h("div", { class: "tabs", role: "group", "aria-label": t("submit.kind") }, tab("words"), tab("json")),
    h("form", { "data-do": "submit", "data-key": submit.kind },
      submit.kind === "words" ? wordFields() : jsonFields(),
      submit.error ? problem(submit.error) : null,
      h("div", { class: "actions" },
        h("button", { type: "submit", class: "primary", "aria-disabled": submit.isBusy ? "true" : null }, t("submit.go")),
        button(t("submit.explain"), "explain", { "aria-disabled": submit.isBusy ? "true" : null })),
      submit.plan ? h("pre", { class: "plan", tabindex: 0, "aria-label": t("submit.plan") }, own(submit.plan)) : null),
  ];
}

function wordFields() {
  return [
    field(t("submit.path"), h("input", { name: "path", value: "data/input.csv", required: true, autocomplete: "off", spellcheck: "false" })),
    field(t("submit.name"), h("input", { name: "name", value: "wordcount", required: true, maxlength: 200, autocomplete: "off" })),
    h("div", { class: "pair" },
      field(t("submit.parallelism"), h("input", { name: "parallelism", type: "number", value: 4, min: 1, max: 10000, required: true })),
      field(t("submit.plan"), h("select", { name: "plan" },
        h("option", { value: "" }, t("submit.plan.default")),
        h("option", { value: "fused" }, "fused"), h("option", { value: "naive" }, "naive")))),
  ];
}

function jsonFields() {
  return field(t("submit.document"), h("textarea", {
    name: "document", rows: 22, required: true, spellcheck: "false", "data-still": true,
  }, SAMPLE));
}

function field(label, input) {
  return h("label", { class: "field" }, h("span", {}, label), input);
}

function problem(error) {
  return h("p", { class: "error", role: "alert" },
    error.field ? h("code", {}, own(error.field)) : null, error.field ? " " : null, own(error.message));
}

function jobTable(overview, store) {
  const jobs = overview.jobs.slice(-SHOWN).reverse();
  const rows = jobs.map((job) => jobRow(job, overview, store));
  const columns = [
    { title: t("job.name") }, { title: t("job.state") }, { title: t("job.done") },
    { title: t("job.tasks"), kind: "number" }, { title: t("job.time"), kind: "number" },
    { title: t("job.submitted") }, { title: h("span", { class: "visually-hidden" }, t("actions")) },
  ];
  return [
    table(t("nav.jobs"), columns, rows, { class: "scroll job-table" }),
    overview.jobs.length > jobs.length ? h("p", { class: "hint" }, t("jobs.more", { shown: jobs.length, total: overview.jobs.length })) : null,
  ];
}

function jobRow(job, overview, store) {
  const isOpen = job.state === "PENDING" || job.state === "RUNNING";
  return h("tr", { "data-key": job.id },
    h("th", { scope: "row", class: "name" }, jobLink(job.id, job.name),
      job.note && isOpen ? h("span", { class: "hint" }, own(job.note)) : null),
    h("td", {}, badge(job.state)),
    h("td", { class: "part" }, progress(job.progress, t("job.progress", { name: job.name }), job.state),
      h("span", { class: "small" }, percent(job.progress))),
    h("td", { class: "number" }, `${count(job.tasks_completed)} / ${count(job.tasks_total)}`),
    h("td", { class: "number" }, job.started_at ? duration((job.ended_at ?? store.now()) - job.started_at) : NONE),
    h("td", { class: "nowrap", title: date(job.created_at) }, moment(job.created_at, store.now())),
    h("td", { class: "end" }, isOpen ? button(t("action.cancel"), "cancel", {
      class: "danger small-button", "data-id": job.id, "aria-label": t("action.cancel.label", { name: job.name }),
    }) : null));
}
