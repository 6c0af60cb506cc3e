// Calls of the master's API, with the guard that shows that this page makes them.
// Must not know what is shown.

const GUARD_HEADER = "X-Minispark-Guard";
const GUARD_KEY = "minispark.guard";
const TIMEOUT_MS = 10000;

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

/** The lines of an answer that is one JSON value a line. */
export async function getLines(path) {
  const text = await guarded("GET", path);
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

async function guarded(method, path, body, headers) {
  try {
    return await send(method, path, body, headers);
  } catch (error) {
    // another tab may have begun another session, or this one's time was over
    if (!(error instanceof ApiError) || !error.isClosed || !(await openSession())) throw error;
    return send(method, path, body, headers);
  }
}

async function send(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers }, signal: AbortSignal.timeout(TIMEOUT_MS) };
  options.headers.Accept = "application/json";
  if (method !== "GET") options.headers[GUARD_HEADER] = localStorage.getItem(GUARD_KEY) ?? "";
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let answer, text;
  try {
    answer = await fetch(path, options);
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

function keepGuard(guard) {
  if (guard) localStorage.setItem(GUARD_KEY, guard);
}
