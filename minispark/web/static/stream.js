// The master's events as they come, resumed behind the last one after any break.
// Must not know what they mean.

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 8000;

export class EventStream {
  /** `onEvent(event)` for each one; `onGap(count)` for those that this browser was too slow for;
   *  `onBreak()` when the connection broke. */
  constructor(onEvent, onGap, onBreak) {
    this.onEvent = onEvent;
    this.onGap = onGap;
    this.onBreak = onBreak;
    this.lastId = null;
    this.source = null;
    this.retryMs = RETRY_MS_MIN;
    this.timer = null;
  }

  /** Listen to what comes after the event of that id. */
  open(after) {
    this.lastId = after;
    this.connect();
  }

  get isOpen() {
    return this.source !== null;
  }

  /** Give the connection back: a browser has few of them for all its tabs. */
  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.source?.close();
    this.source = null;
  }

  /** Go on behind the last event; at once, where it was about to try again. */
  resume() {
    if (this.lastId !== null && (this.source === null || this.timer !== null)) this.connect();
  }

  connect() {
    this.pause();
    const source = new EventSource(`/api/v1/events?after=${this.lastId}`);
    this.source = source;
    const take = (message) => {
      this.lastId = Number(message.lastEventId);
      return JSON.parse(message.data);
    };
    source.addEventListener("open", () => { this.retryMs = RETRY_MS_MIN; });
    source.addEventListener("fact", (message) => this.onEvent(take(message)));
    source.addEventListener("gap", (message) => this.onGap(take(message).skipped));
    source.addEventListener("error", () => {
      if (this.source !== source || this.timer !== null) return;
      // a browser gives up after some answers, and is slow after others: this page tries itself
      source.close();
      this.timer = setTimeout(() => this.connect(), this.retryMs);
      this.retryMs = Math.min(RETRY_MS_MAX, 2 * this.retryMs);
      this.onBreak();
    });
  }
}
