// Calls of the master's API, with the guard that shows that this page makes them.
// Must not know what is shown.

const GUARD_HEADER = "X-Minispark-Guard";
const GUARD_KEY = "minispark.guard";
const TIMEOUT_MS = 10000;
const STREAM_TIMEOUT_MS = 120000;

/** The master's answer was an error, or there was none (`isLost`). */
export class ApiError extends Error {
  constructor(status, code, message, field = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.field = field;
  }

  /** Nobody answered, or somebody who soon may. */
  get isLost() {
    return this.status === 0 || this.status === 502 || this.status === 503;
  }

  /** The session is missing or over. */
  get isClosed() {
    return this.status === 401 || this.code === "guard_needed";
  }
}

/** Whether this browser may use the page; it gets a session if it runs as the cluster's user. */
export async function openSession() {
  const answer = await send("GET", "/api/v1/session");
  keepGuard(answer.guard);
  return answer.is_open;
}

/** A session for who knows the token. Throws ApiError 401. */
export async function giveToken(token) {
  keepGuard((await send("POST", "/api/v1/session", { token })).guard);
}

export function get(path) {
  return guarded("GET", path);
}

export function post(path, body = {}, headers = {}) {
  return guarded("POST", path, body, headers);
}

export function remove(path) {
  return guarded("DELETE", path);
}

/** Each line of an answer that is one JSON value a line, as it comes, until `take(value)` is false. */
export function eachLine(path, take, stopped) {
  return guarded("GET", path, undefined, {}, { take, stopped });
}

async function guarded(method, path, body, headers, lines) {
  try {
    return await send(method, path, body, headers, lines);
  } catch (error) {
    // another tab may have begun another session, or this one's time was over
    if (!(error instanceof ApiError) || !error.isClosed || !(await openSession())) throw error;
    return send(method, path, body, headers, lines);
  }
}

async function send(method, path, body, headers = {}, lines = null) {
  const signal = lines
    ? AbortSignal.any([lines.stopped, AbortSignal.timeout(STREAM_TIMEOUT_MS)]) : AbortSignal.timeout(TIMEOUT_MS);
  const options = { method, headers: { ...headers }, signal };
  options.headers.Accept = "application/json";
  if (method !== "GET") options.headers[GUARD_HEADER] = localStorage.getItem(GUARD_KEY) ?? "";
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let answer, text;
  try {
    answer = await fetch(path, options);
    if (lines && answer.ok) return await readLines(answer.body, lines.take);
    text = await answer.text();
  } catch (error) {
    throw new ApiError(0, "lost", error.message);
  }
  const isJson = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
  const value = isJson && text !== "" ? JSON.parse(text) : text;
  if (answer.ok) return value;
  const { code, message, field } = value?.error ?? {};
  throw new ApiError(answer.status, code ?? "error", message ?? `HTTP ${answer.status}`, field);
}

async function readLines(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const found = (rest + piece.value).split("\n");
    rest = found.pop();
    if (!found.every((line) => take(JSON.parse(line)))) {
      await reader.cancel();
      return;
    }
  }
}

function keepGuard(guard) {
  if (guard) localStorage.setItem(GUARD_KEY, guard);
}
