// The event log with its filters. Must not know where events come from.

import { h, own } from "./dom.js";
import { byName, count, time } from "./format.js";
import { empty, panel, tone } from "./parts.js";
import { stateWord, t } from "./words.js";

export const EVENTS_KEPT = 2000;
const SHOWN = 300;

export function eventsView(store) {
  const wanted = store.filters;
  const found = store.events.filter((event) => isWanted(event, wanted));
  const shown = found.slice(-SHOWN).reverse();
  return [
    h("h1", { class: "visually-hidden" }, t("nav.events")),
    panel(t("nav.events"), { tools: h("span", { class: "hint", role: "status" },
        t(found.length > shown.length ? "events.newest" : "events.shown", { shown: count(shown.length), found: count(found.length) })) },
      filters(store),
      shown.length
        ? h("ol", { class: "event-list" }, shown.map((event) => eventLine(event, store)))
        : empty(store.events.length ? t("events.nothing") : t("events.none"), null)),
  ];
}

function isWanted(event, { kind, outcome, worker, job, text }) {
  const [noun, state] = event.kind.split(" ");
  if (kind && noun !== kind) return false;
  if (outcome === "bad" && !["FAILED", "LOST", "DOWN"].includes(state)) return false;
  if (worker && event.worker !== worker) return false;
  if (job && event.job_id !== job) return false;
  return !text || textOf(event).toLowerCase().includes(text.toLowerCase());
}

function textOf(event) {
  return [event.kind, event.text, event.stage, event.worker, event.job_id].join(" ");
}

function filters({ filters, overview, events }) {
  const workers = [...new Set(events.map((event) => event.worker).filter(Boolean))].sort(byName);
  const jobs = (overview?.jobs ?? []).map((job) => [job.id, `${job.name} · ${job.id.slice(0, 8)}`]).reverse();
  const choose = (name, label, options) =>
    h("label", { class: "field" }, h("span", {}, label),
      h("select", { "data-input": "filter", "data-name": name },
        [["", t("filter.all")], ...options].map(([value, words]) =>
          h("option", { value, selected: filters[name] === value, "data-key": `o${value}` }, words))));
  return h("form", { class: "filters", role: "search", "data-do": "none" },
    choose("kind", t("filter.kind"), ["job", "attempt", "worker"].map((kind) => [kind, t(`noun.${kind}`)])),
    choose("outcome", t("filter.outcome"), [["bad", t("filter.bad")]]),
    choose("worker", t("filter.worker"), workers.map((name) => [name, name])),
    choose("job", t("filter.job"), jobs),
    h("label", { class: "field grow" }, h("span", {}, t("filter.text")),
      h("input", { type: "search", "data-input": "filter", "data-name": "text", autocomplete: "off" })));
}

export function eventLine(event, store) {
  const [noun, state] = event.kind.split(" ");
  const job = store.overview?.jobs.find((one) => one.id === event.job_id);
  return h("li", { class: `event ${tone(state)}`, "data-key": event.id },
    h("time", { class: "at" }, time(event.at, true)),
    h("span", { class: "what" }, h("span", { class: "dot" }), `${t(`noun.${noun}`)} ${stateWord(state)}`),
    h("span", { class: "about" },
      event.job_id ? h("a", { href: `#/jobs/${event.job_id}` }, own(job?.name ?? event.job_id.slice(0, 8))) : null,
      event.stage ? own(`${event.stage}/${event.partition}`) : null,
      event.attempt ? t("attempt.number", { number: event.attempt }) : null,
      event.worker ? own(event.worker, { class: "who" }) : null,
      event.text && event.text !== job?.name ? h("span", { class: "said" }, own(firstLine(event.text))) : null));
}

function firstLine(text) {
  const lines = text.trim().split("\n");
  return lines[0];
}
