// Fetches what one job's view shows, again whenever it may have changed, and no more often than it
// takes. Must not know what is shown.

import { ApiError, get, getLines } from "./api.js";
import { RESULT_ROWS } from "./view_job.js";

const PAUSE_MS_MIN = 400;
const PAUSE_FACTOR = 4;
const PAGE = 1000;
const ATTEMPTS_MAX = 3000;

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
    this.rows = null;
    this.resultError = null;
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
    clearTimeout(this.timer);
  }

  get isOver() {
    return this.info !== null && !["PENDING", "RUNNING"].includes(this.info.state);
  }

  /** Something may have changed: look, now or after a pause. */
  refresh() {
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
    if (info.state === "SUCCEEDED" && this.rows === null && this.resultError === null) {
      await this.fetchHead(path);
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

  async fetchHead(path) {
    try {
      this.rows = await getLines(`${path}/results?format=jsonl&limit=${RESULT_ROWS}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.isLost) this.isStale = true;
      else this.resultError = error.message;
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
