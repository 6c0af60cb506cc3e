// The records of a result with the largest values. The master sends them as they are stored, which costs
// it least; they are ordered here, as `minispark results --top` does. Must not know what is shown.

export const RESULT_ROWS = 20;
export const RECORDS_MAX = 2_000_000; // a few seconds
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

export function isNumber(text) {
  return NUMBER.test(text);
}

/** The `RESULT_ROWS` largest of all records that are added, in order. Values that are no numbers come
 *  last; of equal ones those whose keys come first. */
export class Largest {
  constructor() {
    this.rows = [];
    this.seen = 0;
  }

  /** Whether another one may be added. */
  add(record) {
    this.seen += 1;
    this.rank(record);
    return this.seen < RECORDS_MAX;
  }

  rank({ key, value }) {
    const row = { key, value, number: isNumber(value) ? Number(value) : -Infinity };
    if (this.rows.length === RESULT_ROWS) {
      if (!isBefore(row, this.rows.at(-1))) return;
      this.rows.pop();
    }
    let at = this.rows.length;
    while (at > 0 && isBefore(row, this.rows[at - 1])) at -= 1;
    this.rows.splice(at, 0, row);
  }
}

function isBefore(one, other) {
  if (one.number !== other.number) return one.number > other.number;
  return (one.key ?? "") < (other.key ?? "");
}
