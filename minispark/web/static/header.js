// What stands above every view: the name, the way to the views, the connection, the theme.
// Must not know what the views show.

import { h } from "./dom.js";
import { duration, time } from "./format.js";
import { button } from "./parts.js";
import { t } from "./words.js";

const VIEWS = [["cluster", "#/"], ["jobs", "#/jobs"], ["events", "#/events"]];

export function headerView(store) {
  const current = store.route.view === "job" ? "jobs" : store.route.view;
  return [
    h("a", { class: "brand", href: "#/" }, h("img", { src: "/static/icon.svg", alt: "", width: 28, height: 28 }), "Mini-Spark"),
    store.isClosed ? null : h("nav", { "aria-label": t("nav") }, VIEWS.map(([view, href]) =>
      h("a", { href, "aria-current": view === current ? "page" : null }, t(`nav.${view}`)))),
    h("div", { class: "header-end" },
      store.isClosed ? null : h("span", { class: `link-state ${store.lostAt ? "bad" : store.overview ? "good" : ""}` },
        h("span", { class: "dot" }), store.lostAt ? t("link.lost") : store.overview ? t("link.live") : t("loading")),
      button([h("span", { class: `theme-mark ${store.theme}` }), h("span", { class: "theme-name" }, t(`theme.${store.theme}`))],
        "theme", { class: "quiet-button", title: t(`theme.${store.theme}`), "aria-label": t("theme.label", { theme: t(`theme.${store.theme}`) }) })),
  ];
}

/** Says that nobody answers, since when, and when it is tried again. */
export function bannerView(store) {
  if (!store.lostAt) return [];
  const waits = Math.max(0, Math.ceil((store.retryAt - Date.now()) / 1000));
  return [
    h("p", {}, h("strong", {}, t("lost.title")), " ",
      store.overview ? t("lost.since", { time: time(store.lostAt / 1000) }) : "", " ",
      waits ? t("lost.retry", { time: duration(waits) }) : t("lost.now")),
    button(t("lost.go"), "retry"),
  ];
}
