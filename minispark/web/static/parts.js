// Small pieces that several views share: badges, progress, panels, empty places.
// Must not know where they stand.

import { h, own } from "./dom.js";
import { percent } from "./format.js";
import { stateWord, t } from "./words.js";

const TONES = {
  SUCCEEDED: "good", COMMITTED: "good", Up: "good", UP: "good",
  RUNNING: "busy", STARTING: "busy", ASSIGNED: "busy", ACCEPTED: "quiet",
  FAILED: "bad", FATAL: "bad", Down: "bad", DOWN: "bad",
  LOST: "warn", PAUSED: "warn", BACKOFF: "warn", STOPPING: "warn",
  PENDING: "quiet", CANCELLED: "quiet", STOPPED: "quiet",
};

export function tone(state) {
  return TONES[state] ?? "quiet";
}

export function badge(state) {
  return h("span", { class: `badge ${tone(state)}` }, stateWord(state));
}

/** A bar from 0 to 100 with its name for who does not see it. */
export function progress(part, label, state = "RUNNING") {
  const shown = Math.max(0, Math.min(100, part));
  return h(
    "div",
    {
      class: `progress ${tone(state)}`, role: "progressbar", "aria-label": label,
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.floor(shown),
      "aria-valuetext": percent(shown),
    },
    h("span", { style: { width: `${shown}%` } }),
  );
}

export function panel(title, attributes, ...children) {
  const id = `panel-${title.replace(/\W+/g, "-")}`;
  const { tools = null, ...rest } = attributes ?? {};
  return h(
    "section",
    { ...rest, class: `panel ${rest.class ?? ""}`, "aria-labelledby": id },
    h("div", { class: "panel-head" }, h("h2", { id }, title), tools),
    ...children,
  );
}

/** A place that has nothing to show, and what to do about it. */
export function empty(title, text, ...actions) {
  return h(
    "div",
    { class: "empty" },
    h("p", { class: "empty-title" }, title),
    text ? h("p", {}, text) : null,
    actions.length ? h("p", { class: "actions" }, ...actions) : null,
  );
}

export function loading() {
  return h(
    "div",
    { class: "loading", role: "status" },
    h("span", { class: "visually-hidden" }, t("loading")),
    h("span", { class: "bone" }), h("span", { class: "bone" }), h("span", { class: "bone" }),
  );
}

/** A table that may be wider than its place. `columns`: [{title, class}]; `rows`: elements. */
export function table(caption, columns, rows, attributes = {}) {
  const head = columns.map(({ title, kind = "" }) => h("th", { scope: "col", class: kind }, title));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption, ...attributes },
    h("table", {}, h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)),
  );
}

/** `content`: text, or elements. */
export function button(content, action, attributes = {}) {
  return h("button", { type: "button", "data-do": action, ...attributes }, content);
}

export function jobLink(id, name) {
  return h("a", { href: `#/jobs/${id}`, class: "job-link", title: name, dir: "auto" }, own(name));
}
