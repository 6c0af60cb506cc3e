// Asks for the cluster's token, of who does not run as the cluster's user.
// Must not know what the token opens.

import { h } from "./dom.js";
import { t } from "./words.js";

export function tokenView(store) {
  return [
    h("section", { class: "panel token" },
      h("h1", {}, t("token.title")),
      h("p", {}, t("token.text"), " ", t("token.where"), " ", h("code", {}, "/tmp/minispark/token"), "."),
      h("form", { "data-do": "token" },
        h("label", { class: "field" }, h("span", {}, t("token.label")),
          h("input", {
            type: "password", name: "token", autocomplete: "off", required: true, maxlength: 1000,
            "aria-invalid": store.tokenError ? "true" : null,
            "aria-describedby": store.tokenError ? "token-error" : null,
          })),
        store.tokenError ? h("p", { id: "token-error", class: "error", role: "alert" }, store.tokenError) : null,
        h("button", { type: "submit", class: "primary" }, t("token.go")))),
  ];
}
