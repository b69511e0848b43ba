// The session: its token, what the token says, and calls in its name.

// This page without a token: services send users back to it.
export const HOME = "/session";

const TOKEN = "keyledger.token";
const aside = new Map();

// What is kept for this tab. Where the browser keeps nothing (some do so for embedded pages), it is kept until the page is left.
export const kept = {
  get(name) {
    try {
      return sessionStorage.getItem(name);
    } catch {
      return aside.get(name) ?? null;
    }
  },
  set(name, value) {
    try {
      sessionStorage.setItem(name, value);
    } catch {
      aside.set(name, value);
    }
  },
  drop(name) {
    try {
      sessionStorage.removeItem(name);
    } catch {
      aside.delete(name);
    }
  },
};

let token = null;

// Takes the token out of the address, or the one that this tab has had before. Whether there is one.
export function open() {
  const last = location.pathname.slice(HOME.length + 1);
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(last)) {
    kept.set(TOKEN, last);
    history.replaceState(null, "", HOME + location.hash);
  }
  token = kept.get(TOKEN);
  return token !== null;
}

// What the token says. Only for looks: the server alone knows whether it is true.
export function claims() {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const read = JSON.parse(new TextDecoder().decode(bytes));
    return read !== null && typeof read === "object" ? read : {};
  } catch {
    return {};
  }
}

// Why something brought nothing, in words to show: the answer's status, whether the session is over, whether something has been changed all the same.
export class Trouble extends Error {
  constructor(words, { status = 0, ended = false, moved = false } = {}) {
    super(words);
    Object.assign(this, { status, ended, moved });
  }
}

function troubleOf(status, body) {
  const detail = typeof body?.detail === "string" ? body.detail : body?.detail?.message;
  // A service that refuses what it is shown is 401 as well; this one says that the session is over.
  if (status === 401 && detail === "Invalid Authorization Token") return new Trouble("This session has ended.", { status, ended: true });
  if (status === 403) return new Trouble("This session does not permit that.", { status });
  if (status === 412) return new Trouble("It was changed elsewhere meanwhile. This is how it stands now: look, and try again.", { status });
  if (status === 503) return new Trouble("The server is busy. Try again in a moment.", { status });
  return new Trouble(detail ?? body?.message ?? `The server answered ${status}.`, { status });
}

// Calls the server. Gives the data, and the version to send back with a change.
export async function call(method, path, { body, version } = {}) {
  const headers = { authorization: `Bearer ${token}`, "x-apideck-auth-type": "JWT" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (version) headers["if-match"] = version;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: JSON.stringify(body), cache: "no-store", redirect: "error" });
  } catch {
    throw new Trouble("The server was not reached. Check your network, and try again.");
  }
  const read = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw troubleOf(answer.status, read);
  return { data: read?.data, version: answer.headers.get("etag") };
}

// The path of a connection.
export const pathOf = (api, service) => `/vault/connections/${encodeURIComponent(api)}/${encodeURIComponent(service)}`;
