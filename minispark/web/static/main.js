// The page: what it knows, where it is, what a click does. Views turn what it knows into elements;
// this module asks for it. Must not know what a view looks like.

import { ApiError, get, giveToken, openSession, post, remove } from "./api.js";
import { h, morph } from "./dom.js";
import { bannerView, headerView } from "./header.js";
import { JobLoader } from "./job_loader.js";
import { EventStream } from "./stream.js";
import { neighbour } from "./timeline.js";
import { clusterView } from "./view_cluster.js";
import { EVENTS_KEPT, eventsView } from "./view_events.js";
import { jobView } from "./view_job.js";
import { jobsView } from "./view_jobs.js";
import { tokenView } from "./view_token.js";
import { language, t } from "./words.js";

const POLL_MS_BUSY = 1000;
const POLL_MS_IDLE = 3000;
const POLL_MS_HIDDEN = 15000;
const POLL_MS_SOON = 150;
const RETRY_MS = [1000, 2000, 4000, 8000];
const EVENTS_AT_START = 1000;
const TOAST_MS = 6000;
const TOASTS_MAX = 4;
const NARROW = matchMedia("(max-width: 640px)");
const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "minispark.theme";

const store = {
  overview: null,
  events: [],
  job: null,
  route: { view: "cluster" },
  isClosed: false,
  tokenError: null,
  lostAt: null,
  retryAt: 0,
  tries: 0,
  clockSkew: 0,
  acting: new Set(),
  chosenAttempt: null,
  zoom: 1,
  filters: { kind: "", outcome: "", worker: "", job: "", text: "" },
  submit: { kind: "words", error: null, plan: null, isBusy: false },
  theme: localStorage.getItem(THEME_KEY) ?? "auto",
  /** Where a drawing goes: how wide a panel is inside. */
  get room() {
    const width = main.clientWidth - 90;
    return { width, isNarrow: NARROW.matches };
  },
  /** The master's clock. */
  now() { return Date.now() / 1000 + this.clockSkew; },
};

const main = document.getElementById("main");
const VIEWS = { cluster: clusterView, jobs: jobsView, job: jobView, events: eventsView, token: tokenView };

// --- drawing -----------------------------------------------------------------------------------

let isDrawing = false;

function draw() {
  if (isDrawing) return;
  isDrawing = true;
  // a timer, because a hidden page gets no frames
  setTimeout(() => {
    isDrawing = false;
    const view = store.isClosed ? "token" : store.route.view;
    document.documentElement.dataset.theme = store.theme;
    morph(document.getElementById("header"), headerView(store));
    morph(document.getElementById("banner"), bannerView(store));
    main.className = `view-${view}${store.lostAt ? " stale" : ""}`;
    morph(main, h("div", { class: "view", "data-key": `${view}/${store.route.id ?? ""}` }, VIEWS[view](store)));
  }, 16);
}

function toast(text, kind = "good") {
  const node = h("p", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : null }, text);
  const toasts = document.getElementById("toasts");
  toasts.append(node);
  while (toasts.children.length > TOASTS_MAX) toasts.firstChild.remove();
  setTimeout(() => node.remove(), TOAST_MS);
}

// --- asking --------------------------------------------------------------------------------------

let pollTimer = null;
let isPolling = false;

const stream = new EventStream(
  (event) => {
    store.events.push(event);
    if (store.events.length > EVENTS_KEPT) store.events.splice(0, store.events.length - EVENTS_KEPT);
    if (store.job && event.job_id === store.route.id) store.job.refresh();
    pollSoon();
    draw();
  },
  (skipped) => toast(t("events.gap", { skipped })),
  () => pollIn(0),
);

/** Look at the cluster after that time, or earlier if that is planned. */
function pollIn(ms) {
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, ms);
}

let soonAt = 0;

function pollSoon() {
  if (store.lostAt || soonAt > Date.now()) return;
  soonAt = Date.now() + POLL_MS_SOON;
  pollIn(POLL_MS_SOON);
}

async function poll() {
  if (isPolling || store.isClosed) return;
  isPolling = true;
  try {
    take(await get("/api/v1/overview"));
    pollIn(document.hidden ? POLL_MS_HIDDEN : isBusy() ? POLL_MS_BUSY : POLL_MS_IDLE);
  } catch (error) {
    fail(error);
  } finally {
    isPolling = false;
    draw();
  }
}

function isBusy() {
  return store.overview.system.jobs_running > 0 || store.overview.system.jobs_accepted > 0;
}

function take(overview) {
  store.clockSkew = overview.at - Date.now() / 1000;
  const isFirst = store.overview === null;
  store.overview = overview;
  if (store.lostAt) {
    store.lostAt = null;
    store.tries = 0;
    stream.resume();
    store.job?.refresh();
  }
  if (isFirst) stream.open(Math.max(0, overview.last_event_id - EVENTS_AT_START));
  if (store.job) {
    store.job.summary = overview.jobs.find((job) => job.id === store.route.id) ?? null;
    if (!store.job.isOver) store.job.refresh();
  }
}

/** Nobody answers, or the session is over. */
function fail(error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.isClosed) {
    close();
    return;
  }
  store.lostAt ??= Date.now();
  const pause = RETRY_MS[Math.min(store.tries, RETRY_MS.length - 1)];
  store.tries += 1;
  store.retryAt = Date.now() + pause;
  pollIn(pause);
  draw();
}

function close() {
  store.isClosed = true;
  stream.pause();
  draw();
}

async function begin() {
  try {
    store.isClosed = !(await openSession());
    if (!store.isClosed) pollIn(0);
  } catch (error) {
    fail(error);
    setTimeout(begin, store.retryAt - Date.now());
  }
  draw();
}

// --- where it is -----------------------------------------------------------------------------------

function follow() {
  const [, view = "", id = null] = location.hash.split("/");
  const isJob = view === "jobs" && id;
  store.route = { view: isJob ? "job" : view in VIEWS && view !== "token" ? view : "cluster", id };
  store.job?.close();
  store.job = null;
  store.chosenAttempt = null;
  store.zoom = 1;
  if (isJob) {
    store.job = new JobLoader(id, draw, fail);
    store.job.summary = store.overview?.jobs.find((job) => job.id === id) ?? null;
    store.job.refresh();
  }
  document.title = `${t(isJob ? "job" : `nav.${store.route.view}`)} · Mini-Spark`;
  draw();
}

// --- what a click does -------------------------------------------------------------------------------

const ACTIONS = {
  async worker({ action, name }) {
    store.acting.add(name);
    draw();
    try {
      const done = await post(`/api/v1/workers/${encodeURIComponent(name)}/${action}`);
      toast(t(`action.${action}.done`, { name, pid: done.pid }));
    } finally {
      store.acting.delete(name);
      pollIn(0);
    }
  },
  async cancel({ id }) {
    await remove(`/api/v1/jobs/${id}`);
    store.job?.refresh();
    pollIn(0);
  },
  "submit-kind"({ kind }) {
    store.submit = { kind, error: null, plan: null, isBusy: false };
  },
  async explain(_, element) {
    const form = element.closest("form");
    if (form.reportValidity()) {
      await ask(form, async (job) => { store.submit.plan = (await post("/api/v1/explain", job)).text; });
    }
  },
  async submit(_, form) {
    if (store.submit.isBusy) return;
    await ask(form, async (job) => {
      const info = await post("/api/v1/jobs", job, { "Idempotency-Key": randomKey() });
      for (const warning of info.warnings) toast(warning, "warn");
      toast(t("submit.done", { name: info.request.name }));
      location.hash = `#/jobs/${info.id}`;
    });
  },
  async token(_, form) {
    try {
      await giveToken(form.elements.token.value.trim());
      store.isClosed = false;
      store.tokenError = null;
      stream.resume();
      pollIn(0);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      store.tokenError = error.status === 401 ? t("token.wrong") : error.message;
    }
  },
  async order({ order }) {
    await store.job?.choose(order);
  },
  attempt({ id }) {
    store.chosenAttempt = store.chosenAttempt === id ? null : id;
  },
  zoom({ by }) {
    store.zoom = Math.min(32, Math.max(1, store.zoom * Number(by)));
  },
  theme() {
    store.theme = THEMES[(THEMES.indexOf(store.theme) + 1) % THEMES.length];
    localStorage.setItem(THEME_KEY, store.theme);
  },
  retry() {
    store.tries = 0;
    pollIn(0);
  },
  none() {},
};

/** Does something with the form's job; what is wrong with it is said below the form. */
async function ask(form, act) {
  store.submit = { ...store.submit, error: null, plan: null, isBusy: true };
  draw();
  try {
    await act(jobOf(form));
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof SyntaxError)) throw error;
    if (error.isClosed) throw error;
    store.submit.error = { message: error.message, field: error.field ?? null };
  } finally {
    store.submit.isBusy = false;
  }
}

/** The job of the form: the one that is typed, or a word count. Throws SyntaxError. */
function jobOf(form) {
  const { document: text, path, name, parallelism, plan } = form.elements;
  if (text) return JSON.parse(text.value);
  const job = {
    name: name.value,
    dag: {
      nodes: [
        { id: "read", op: readerOf(path.value), path: path.value },
        { id: "flatmap", op: "flat_map", fn: "split_words" },
        { id: "map", op: "map", fn: "pair_with_one" },
        { id: "reduce", op: "reduce_by_key", fn: "sum", key: "word" },
      ],
      edges: [["read", "flatmap"], ["flatmap", "map"], ["map", "reduce"]],
    },
    parallelism: Number(parallelism.value),
  };
  return plan.value ? { ...job, plan: plan.value } : job;
}

function readerOf(path) {
  const [, kind] = /\.(csv|jsonl|ndjson)(\.(gz|bz2|xz))?$/i.exec(path) ?? [null, ""];
  return kind === "" ? "read_text" : kind.toLowerCase() === "csv" ? "read_csv" : "read_jsonl";
}

function randomKey() {
  const numbers = crypto.getRandomValues(new Uint32Array(4));
  return [...numbers].map((number) => number.toString(16).padStart(8, "0")).join("");
}

async function act(name, element) {
  try {
    await ACTIONS[name](element.dataset, element);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.isClosed) close();
    else toast(error.isLost ? t("lost.title") : error.message, "bad");
  }
  draw();
}

// --- listening -------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const element = event.target.closest("button[data-do]");
  if (element !== null && element.ariaDisabled !== "true") act(element.dataset.do, element);
});
document.addEventListener("submit", (event) => {
  event.preventDefault();
  act(event.target.dataset.do, event.target);
});
document.addEventListener("input", (event) => {
  const { input, name } = event.target.dataset;
  if (input === "filter") {
    store.filters[name] = event.target.value;
    draw();
  }
});
document.addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow") || !event.target.matches?.("button.bar")) return;
  const next = neighbour(event.target, event.key);
  if (next === null) return;
  event.preventDefault();
  next.focus();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  main.focus();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream.pause();
  } else if (!store.isClosed) {
    stream.resume();
    pollIn(0);
  }
});
window.addEventListener("hashchange", () => {
  follow();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
window.addEventListener("resize", draw);
setInterval(() => {
  if (!document.hidden && (store.lostAt || store.overview)) draw();
}, 1000);

document.documentElement.lang = language;
document.getElementById("skip").textContent = t("skip");
follow();
begin();
