// The page's words in the browser's language. Must not know where they stand.

import { EN } from "./words_en.js";
import { ES } from "./words_es.js";

const TABLES = { en: EN, es: ES };

/** The first of the browser's languages that the page speaks. */
export const language =
  (navigator.languages ?? [navigator.language])
    .map((tag) => tag.slice(0, 2).toLowerCase())
    .find((tag) => tag in TABLES) ?? "en";

const table = TABLES[language];

/** The words of that key; `{name}` in them is replaced by a value. */
export function t(key, values = {}) {
  const words = table[key] ?? EN[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The words for a state of a job, an attempt or a process. */
export function stateWord(state) {
  return table[`state.${state}`] ?? EN[`state.${state}`] ?? state;
}
