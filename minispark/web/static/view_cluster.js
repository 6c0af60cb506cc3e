// The cluster: what it does as a whole, and each worker with its buttons.
// Must not know how it is asked for.

import { h, own } from "./dom.js";
import { ago, byName, bytes, count, duration, NONE, oneDigit, percent, time } from "./format.js";
import { eventLine } from "./view_events.js";
import { badge, button, empty, jobLink, loading, panel, progress } from "./parts.js";
import { t } from "./words.js";

const JOBS_SHOWN = 7;
const EVENTS_SHOWN = 8;

export function clusterView(store) {
  const overview = store.overview;
  if (overview === null) return [h("h1", {}, t("nav.cluster")), loading()];
  const workers = workersOf(overview);
  return [
    h("h1", { class: "visually-hidden" }, t("nav.cluster")),
    figures(overview, workers),
    h("div", { class: "columns" },
      h("div", { class: "stack" },
        panel(t("workers"), {},
          workers.length || overview.driver
            ? h("div", { class: "workers" }, workers.map((worker) => workerCard(worker, store)),
                overview.driver ? driverCard(overview.driver, store) : null)
            : empty(t("workers.none"), t("workers.none.text"))),
        panel(t("nav.events"), { tools: h("a", { href: "#/events" }, t("events.all")) },
          latestEvents(store))),
      panel(t("jobs.latest"), { tools: h("a", { href: "#/jobs" }, t("jobs.all")) },
        latestJobs(overview))),
  ];
}

/** Workers that registered, and processes of workers that have not yet, by name. */
function workersOf(overview) {
  return [...overview.workers, ...overview.waiting.map((one) => ({ ...one, status: null }))]
    .sort((a, b) => byName(a.name, b.name));
}

function figures({ system, workers }, all) {
  const up = workers.filter((worker) => worker.status === "Up");
  const slots = up.reduce((sum, worker) => sum + worker.slots, 0);
  const busy = up.reduce((sum, worker) => sum + Math.min(worker.slots, worker.active_tasks), 0);
  const loads = up.map((worker) => worker.load).filter((load) => load !== null);
  const cpu = loads.reduce((sum, load) => sum + load.cpu_percent, 0);
  const rss = loads.reduce((sum, load) => sum + load.rss_bytes, 0);
  const items = [
    [t("figure.workers"), `${count(system.workers_up)} / ${count(all.length)}`],
    [t("figure.slots"), `${count(busy)} / ${count(slots)}`],
    [t("figure.assigned"), count(system.tasks_running)],
    [t("figure.queued"), count(system.tasks_queued)],
    [t("figure.jobs"), count(system.jobs_running + system.jobs_accepted)],
    [t("figure.retries"), count(system.retries_total)],
    [t("figure.cpu"), oneDigit.format(cpu / 100)],
    [t("figure.rss"), bytes(rss)],
  ];
  return h("dl", { class: "figures" },
    items.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function stateOf(worker) {
  if (worker.process?.is_paused) return "PAUSED";
  if (worker.status === "Up") return "Up";
  const state = worker.process?.state;
  return state === undefined || state === "RUNNING" ? (worker.status ?? "STARTING") : state;
}

function workerCard(worker, store) {
  const state = stateOf(worker);
  const load = worker.load ?? null;
  const process = worker.process;
  const facts = [
    [t("worker.cpu"), load ? percent(load.cpu_percent) : NONE],
    [t("worker.rss"), bytes(load?.rss_bytes)],
    [t("worker.cache"), load ? cacheText(load) : NONE],
    [t("worker.hits"), hitsText(load)],
    [t("worker.heartbeat"), worker.last_heartbeat ? ago(store.now() - worker.last_heartbeat) : NONE],
    [t("worker.restarts"), count(process?.restarts ?? null)],
  ];
  return h(
    "article",
    { class: `worker ${state}`, "data-key": worker.id ?? worker.name, "aria-label": worker.name },
    h("div", { class: "worker-head" }, h("h3", {}, own(worker.name, { title: worker.name })), badge(state)),
    h("p", { class: "pid" }, `pid ${process?.pid ?? worker.pid ?? NONE}`),
    slotsOf(worker),
    worker.slots ? progress(load ? load.cpu_percent / worker.slots : 0, `${t("worker.cpu")} ${worker.name}`) : null,
    h("dl", { class: "facts" },
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    process?.reason && state !== "Up" ? h("p", { class: "reason" }, own(process.reason)) : null,
    workerButtons(worker, state, store),
  );
}

/** Spark's driver: it has no slots of its own, and the supervisor alone restarts it. */
function driverCard(driver, store) {
  const facts = [
    [t("driver.tasks"), count(driver.active_tasks)],
    [t("worker.heartbeat"), ago(store.now() - driver.last_heartbeat)],
  ];
  return h(
    "article",
    { class: `worker ${driver.status}`, "data-key": driver.id, "aria-label": driver.name },
    h("div", { class: "worker-head" }, h("h3", {}, own(driver.name, { title: driver.name })), badge(driver.status)),
    h("p", { class: "pid" }, `pid ${driver.pid ?? NONE}`),
    h("dl", { class: "facts" },
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("p", { class: "hint" }, t("driver.hint")),
  );
}

function cacheText(load) {
  const spilled = load.cache_spilled_bytes ? ` + ${bytes(load.cache_spilled_bytes)} ${t("worker.spilled")}` : "";
  return `${bytes(load.cache_bytes)}${spilled}`;
}

function hitsText(load) {
  const asked = load ? load.cache_hits + load.cache_misses : 0;
  return asked ? percent((100 * load.cache_hits) / asked) : NONE;
}

/** One square a slot; what waits for one stands behind them. */
function slotsOf(worker) {
  if (!worker.slots) return null;
  const busy = Math.min(worker.slots, worker.active_tasks);
  const queued = worker.active_tasks - busy;
  const squares = Array.from({ length: Math.min(worker.slots, 32) }, (_, slot) =>
    h("span", { class: slot < busy ? "slot busy" : "slot" }));
  return h("div", { class: "slots", role: "img", "aria-label": t("worker.slots", { busy, slots: worker.slots, queued }) },
    squares, queued > 0 ? h("span", { class: "queued" }, `+${queued}`) : null,
    h("span", { class: "in-slots" }, t("worker.load", { busy: count(busy), slots: count(worker.slots) })));
}

function workerButtons(worker, state, store) {
  if (!worker.process) return h("p", { class: "hint" }, t("worker.foreign"));
  const isAlive = worker.process.pid !== null && !["FATAL", "STOPPED", "BACKOFF"].includes(worker.process.state);
  const isBusy = store.acting.has(worker.name);
  const make = (action, kind) =>
    button(t(`action.${action}`), "worker", {
      class: kind, "data-action": action, "data-name": worker.name, disabled: !isAlive, "aria-disabled": isBusy ? "true" : null,
      "aria-label": t(`action.${action}.label`, { name: worker.name }),
    });
  return h("div", { class: "actions" },
    make("kill", "danger"), state === "PAUSED" ? make("resume", "") : make("pause", ""), make("restart", ""));
}

function latestJobs(overview) {
  const jobs = overview.jobs.slice(-JOBS_SHOWN).reverse();
  if (!jobs.length) {
    return empty(t("jobs.none"), t("jobs.none.text"), h("a", { href: "#/jobs", class: "button" }, t("submit.go")));
  }
  return h("ul", { class: "job-list" }, jobs.map((job) =>
    h("li", { "data-key": job.id },
      h("div", { class: "line" }, jobLink(job.id, job.name), badge(job.state)),
      progress(job.progress, t("job.progress", { name: job.name }), job.state),
      h("div", { class: "line small" },
        h("span", {}, t("tasks.of", { done: count(job.tasks_completed), total: count(job.tasks_total) })),
        h("span", {}, job.started_at
          ? duration((job.ended_at ?? overview.at) - job.started_at) : time(job.created_at))))));
}

function latestEvents(store) {
  const events = store.events.slice(-EVENTS_SHOWN).reverse();
  if (!events.length) return empty(t("events.none"), null);
  return h("ol", { class: "event-list short" }, events.map((event) => eventLine(event, store)));
}
