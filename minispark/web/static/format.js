// Numbers, times and sizes for people, in the page's language. Must not know what they count.

import { language, t } from "./words.js";

const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
export const oneDigit = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat(language, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const calendar = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

export const NONE = "–";

export function count(number) {
  return number === null || number === undefined ? NONE : whole.format(number);
}

const share = new Intl.NumberFormat(language, { style: "percent" });

export function percent(number) {
  return share.format(Math.floor(number) / 100);
}

export function bytes(number) {
  if (number === null || number === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"]; // decimal, as `explain --analyze` has them
  let rest = number, unit = 0;
  while (rest >= 1000 && unit < units.length - 1) { rest /= 1000; unit += 1; }
  return `${(rest < 100 && unit ? oneDigit : whole).format(rest)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NONE;
  if (seconds < 1) return `${whole.format(Math.max(0, Math.round(seconds * 1000)))} ms`;
  if (seconds < 10) return `${twoDigits.format(seconds)} s`;
  if (seconds < 60) return `${oneDigit.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return parts(minutes, "min", Math.floor(seconds % 60), "s");
  return parts(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

function parts(number, unit, rest, restUnit) {
  const first = `${whole.format(number)} ${unit}`;
  return rest ? `${first} ${rest} ${restUnit}` : first;
}

export function ago(seconds) {
  return t("ago", { time: seconds < 60 ? `${Math.max(0, Math.floor(seconds))} s` : duration(seconds) });
}

/** How names are compared: worker-2 comes before worker-10. */
export const byName = new Intl.Collator("en", { numeric: true }).compare;

/** A time of day, with milliseconds where they matter. */
export function time(unixSeconds, withMillis = false) {
  if (unixSeconds === null || unixSeconds === undefined) return NONE;
  const text = clock.format(new Date(unixSeconds * 1000));
  if (!withMillis) return text;
  return `${text}.${String(Math.floor((unixSeconds % 1) * 1000)).padStart(3, "0")}`;
}

/** A time of day of today, else the date. */
export function moment(unixSeconds, now) {
  const at = new Date(unixSeconds * 1000);
  const isToday = at.toDateString() === new Date(now * 1000).toDateString();
  return isToday ? clock.format(at) : calendar.format(at);
}

export function date(unixSeconds) {
  return unixSeconds ? day.format(new Date(unixSeconds * 1000)) : NONE;
}
