// Fetches what one job's view shows, again whenever it may have changed, and no more often than it
// takes. Must not know what is shown.

import { ApiError, eachLine, get } from "./api.js";
import { Largest, RECORDS_MAX, RESULT_ROWS } from "./largest.js";

const PAUSE_MS_MIN = 400;
const PAUSE_FACTOR = 4;
const PAGE = 1000;
const ATTEMPTS_MAX = 3000;
const NEVER = [400, 404]; // answers that asking again does not change

export class JobLoader {
  /** `onChange()` when there is something new; `onError(error)` when nobody answers. */
  constructor(id, onChange, onError) {
    this.id = id;
    this.info = null;
    this.error = null;
    this.plan = null;
    this.stages = [];
    this.profile = null;
    this.attempts = [];
    this.attemptsTotal = 0;
    /** How the head of the result is ordered, and the heads that are known. */
    this.order = "stored";
    this.heads = { stored: null, largest: null };
    this.isCut = false; // more records than are ordered
    this.resultError = null;
    this.stop = new AbortController();
    this.summary = null;
    this.onChange = onChange;
    this.onError = onError;
    this.isLoading = false;
    this.isStale = false;
    this.isClosed = false;
    this.timer = null;
  }

  close() {
    this.isClosed = true;
    this.stop.abort();
    clearTimeout(this.timer);
  }

  get isOver() {
    return this.info !== null && !["PENDING", "RUNNING"].includes(this.info.state);
  }

  /** Something may have changed: look, now or after a pause. A job that is gone stays so. */
  refresh() {
    if (NEVER.includes(this.error?.status)) return;
    this.isStale = true;
    if (!this.isLoading && this.timer === null && !this.isClosed) this.load();
  }

  async load() {
    this.isLoading = true;
    this.isStale = false;
    const begun = performance.now();
    try {
      await this.fetchAll();
      this.error = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.isLost || error.isClosed) this.onError(error);
      else this.error = error;
    } finally {
      this.isLoading = false;
      const pause = Math.max(PAUSE_MS_MIN, PAUSE_FACTOR * (performance.now() - begun));
      this.timer = setTimeout(() => {
        this.timer = null;
        if (this.isStale) this.refresh();
      }, pause);
    }
    if (!this.isClosed) this.onChange();
  }

  async fetchAll() {
    const path = `/api/v1/jobs/${encodeURIComponent(this.id)}`;
    const [info, stages] = await Promise.all([get(path), get(`${path}/stages`)]);
    const [{ tasks, total }, profile] = await Promise.all([
      this.fetchAttempts(path),
      info.plan === null ? null : orNull(get(`${path}/profile`)),
    ]);
    if (this.plan === null && info.plan !== null) this.plan = await orNull(get(`${path}/plan`));
    Object.assign(this, { info, stages, profile, attempts: tasks, attemptsTotal: total });
    if (info.state === "SUCCEEDED" && this.heads.stored === null && this.resultError === null) {
      await this.fetchHead("stored");
    }
  }

  async fetchAttempts(path) {
    const tasks = [];
    let total = 0;
    do {
      const page = await get(`${path}/tasks?limit=${PAGE}&offset=${tasks.length}`);
      tasks.push(...page.tasks);
      total = page.total;
      if (!page.tasks.length) break;
    } while (tasks.length < Math.min(total, ATTEMPTS_MAX));
    return { tasks, total };
  }

  /** Show the result's head in that order; it is asked for when it is not known. */
  async choose(order) {
    this.order = order;
    this.onChange();
    if (this.heads[order] === null) await this.fetchHead(order);
    this.onChange();
  }

  async fetchHead(order) {
    const path = `/api/v1/jobs/${encodeURIComponent(this.id)}/results?format=jsonl`;
    const rows = [], largest = new Largest();
    try {
      if (order === "stored") await eachLine(`${path}&limit=${RESULT_ROWS}`, (row) => rows.push(row), this.stop.signal);
      else await eachLine(path, (row) => largest.add(row), this.stop.signal);
      this.isCut ||= largest.seen >= RECORDS_MAX;
      this.heads[order] = order === "stored" ? rows : largest.rows;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.isLost) {
        this.order = "stored";
        this.isStale = true;
      } else {
        this.resultError = error.message;
      }
    }
  }
}

/** What a job may not have yet. */
async function orNull(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}
