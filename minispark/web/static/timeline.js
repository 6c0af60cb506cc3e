// Attempts over time, one lane for each slot of each worker. Must not know where attempts come from.

import { h, own } from "./dom.js";
import { byName, bytes, count, duration, time } from "./format.js";
import { badge } from "./parts.js";
import { stateWord, t } from "./words.js";

const TICKS = 6;
const TICK_PART_MAX = 0.94; // behind that its words would be cut
const LONG_STEPS_S = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600, 43200, 86400];
const SPAN_S_MIN = 0.02;

/** `attempts`: rows of `/tasks`; `now`: until when running ones are drawn. */
export function timelineView(attempts, total, now, store) {
  const copies = speculative(attempts);
  const bars = attempts.map((attempt) => barOf(attempt, copies, now)).filter((bar) => bar !== null);
  if (!bars.length) return h("p", { class: "hint" }, t("timeline.none"));
  const begun = Math.min(...bars.map((bar) => bar.from));
  const span = Math.max(SPAN_S_MIN, Math.max(...bars.map((bar) => bar.to)) - begun);
  const lanes = lanesOf(bars);
  const chosen = bars.find((bar) => bar.key === store.chosenAttempt) ?? null;
  const zoom = store.zoom;
  return [
    h("div", { class: "scroll timeline-scroll", tabindex: 0, role: "region", "aria-label": t("timeline.about") },
      h("div", { class: "timeline", "data-bars": true, style: { width: `${zoom * 100}%` } },
        lanes.map((lane) => laneRow(lane, begun, span, chosen)),
        axis(span))),
    legend(attempts, bars, total, copies),
    chosen ? details(chosen, copies) : h("p", { class: "hint" }, t("timeline.choose")),
  ];
}

/** Keys of attempts that began while another one of their task was under way. */
export function speculative(attempts) {
  const found = new Set(), byTask = new Map();
  for (const attempt of attempts) {
    const task = `${attempt.stage}/${attempt.partition_id}`;
    const earlier = byTask.get(task) ?? [];
    const isCopy = earlier.some((other) => other.ended_at === null || other.ended_at > attempt.assigned_at);
    if (isCopy) found.add(keyOf(attempt));
    byTask.set(task, [...earlier, attempt]);
  }
  return found;
}

export function keyOf(attempt) {
  return `${attempt.stage}/${attempt.partition_id}/${attempt.attempt}`;
}

function barOf(attempt, copies, now) {
  const from = attempt.started_at ?? (attempt.slot === undefined ? attempt.assigned_at : null);
  if (from === null) return null; // it never began
  const to = Math.max(from, attempt.finished_at ?? attempt.ended_at ?? now);
  return { attempt, key: keyOf(attempt), from, to, isCopy: copies.has(keyOf(attempt)) };
}

/** By worker and slot. Where nobody told a slot, bars that overlap get lanes of their own. */
function lanesOf(bars) {
  const lanes = new Map();
  for (const bar of [...bars].sort((a, b) => a.from - b.from)) {
    const worker = bar.attempt.worker ?? bar.attempt.worker_id;
    let slot = bar.attempt.slot ?? null;
    if (slot === null) {
      slot = 0;
      while ((lanes.get(`${worker} ?${slot}`)?.until ?? -Infinity) > bar.from) slot += 1;
      slot = `?${slot}`;
    }
    const key = `${worker} ${slot}`;
    const lane = lanes.get(key) ?? { key, worker, slot, bars: [], until: 0 };
    lane.bars.push(bar);
    lane.until = bar.to;
    lanes.set(key, lane);
  }
  return [...lanes.values()].sort((a, b) => byName(a.key, b.key));
}

function laneRow(lane, begun, span, chosen) {
  return h(
    "div", { class: "lane", "data-key": lane.key },
    h("div", { class: "lane-name", title: lane.worker }, own(lane.worker), h("span", { class: "slot-number" }, String(lane.slot).replace("?", ""))),
    h("div", { class: "track" }, lane.bars.map((bar) => barButton(bar, begun, span, chosen))),
  );
}

function barButton(bar, begun, span, chosen) {
  const { attempt } = bar;
  const left = (100 * (bar.from - begun)) / span;
  const width = (100 * (bar.to - bar.from)) / span;
  const isFailed = attempt.state === "FAILED" || attempt.state === "LOST";
  const least = isFailed || bar.isCopy ? 13 : 3; // pixels: room for its mark, or to be seen
  const words = [
    `${attempt.node_id}/${attempt.partition_id}`, t("attempt.number", { number: attempt.attempt }),
    stateWord(attempt.state), bar.isCopy ? t("attempt.copy") : null, duration(bar.to - bar.from),
  ].filter(Boolean).join(" · ");
  return h(
    "button",
    {
      type: "button", "data-do": "attempt", "data-id": bar.key, "data-key": bar.key, title: words,
      "aria-label": words, "aria-pressed": bar === chosen ? "true" : "false",
      class: `bar ${attempt.state}${bar.isCopy ? " copy" : ""}`,
      tabindex: (chosen === null ? left === 0 : bar === chosen) ? 0 : -1,
      style: { left: `min(${left}%, 100% - ${least}px)`, width: `max(${least}px, ${width}%)` },
    },
    isFailed ? "✕" : bar.isCopy ? "»" : null,
  );
}

function axis(span) {
  const step = niceStep(span / TICKS);
  const ticks = [];
  for (let at = 0; at <= span * TICK_PART_MAX; at += step) {
    ticks.push(h("span", { class: "tick", style: { left: `${(100 * at) / span}%` } }, at === 0 ? "0" : duration(at)));
  }
  return h("div", { class: "lane axis", "aria-hidden": "true" }, h("div", { class: "lane-name" }), h("div", { class: "track" }, ticks));
}

/** The next step that people count in: 1, 2 or 5 of a power of ten, or so many minutes or hours. */
function niceStep(rough) {
  const long = LONG_STEPS_S.find((step) => step >= rough);
  if (rough > 20 && long !== undefined) return long;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

function legend(attempts, bars, total, copies) {
  const states = ["RUNNING", "SUCCEEDED", "FAILED", "LOST", "CANCELLED"];
  const number = (state) => attempts.filter((attempt) => attempt.state === state).length;
  const waiting = attempts.length - bars.length;
  return h("ul", { class: "legend" },
    states.filter(number).map((state) => h("li", {}, h("span", { class: `swatch bar ${state}` }), `${stateWord(state)} ${count(number(state))}`)),
    copies.size ? h("li", {}, h("span", { class: "swatch bar copy" }, "»"), `${t("attempt.copies")} ${count(copies.size)}`) : null,
    waiting ? h("li", {}, t("timeline.waiting", { number: count(waiting) })) : null,
    total > attempts.length ? h("li", {}, t("timeline.more", { shown: count(attempts.length), total: count(total) })) : null);
}

function details({ attempt, from, to, isCopy }) {
  const phases = Object.entries(attempt.phases_ms ?? {}).map(([name, ms]) => `${name} ${duration(ms / 1000)}`).join(", ");
  const facts = [
    [t("stage"), own(attempt.node_id)], [t("partition"), attempt.partition_id], [t("attempt"), attempt.attempt],
    [t("worker"), own(attempt.worker ?? attempt.worker_id)], [t("slot"), attempt.slot ?? "–"],
    [t("began"), time(from, true)], [t("took"), duration(to - from)],
    [t("records"), count(attempt.records_processed)], [t("written"), bytes(attempt.bytes_written)],
    phases ? [t("phases"), phases] : null,
  ].filter(Boolean);
  return h("div", { class: "attempt-details", role: "status" },
    h("p", { class: "line start" }, badge(attempt.state), isCopy ? h("span", { class: "badge quiet" }, t("attempt.copy")) : null),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    attempt.error ? h("pre", { class: "trace", tabindex: 0, "aria-label": t("error") }, own(attempt.error)) : null);
}

/** Arrow keys go from bar to bar; returns the bar to go to. */
export function neighbour(bar, key) {
  const bars = [...bar.closest("[data-bars]").querySelectorAll("button.bar")];
  const lane = bar.closest(".track");
  if (key === "ArrowRight") return bars[bars.indexOf(bar) + 1] ?? null;
  if (key === "ArrowLeft") return bars[bars.indexOf(bar) - 1] ?? null;
  const row = lane.closest(".lane");
  const next = key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
  return next?.querySelector("button.bar") ?? null;
}
