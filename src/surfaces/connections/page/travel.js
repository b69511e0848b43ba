// The way to a service and back: to authorize a connection there, or to take its access back.

import { webUrl } from "./dom.js";
import { HOME, kept } from "./session.js";

const UNDER_WAY = "keyledger.under-way";
const WINDOW = "keyledger-away";

// Whether another page embeds this one: services do not let themselves be embedded, so the way leads through a window of its own.
export const isFramed = window.top !== window;

function nonce() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Leaves for a service; `what` is `authorize` or `revoke`. Ends only in an embedded page: whether a window could be opened.
export async function leave(link, what, one) {
  const url = webUrl(link, ["https:", "http:"]);
  if (!url) return false;
  const going = { what, nonce: nonce(), api: one.unified_api, service: one.service_id, name: one.name };
  kept.set(UNDER_WAY, JSON.stringify(going));
  url.searchParams.set("redirect_uri", location.origin + HOME);
  if (what === "authorize") url.searchParams.set("nonce", going.nonce);
  if (isFramed) return window.open(url, WINDOW, "popup,width=640,height=760") !== null;
  location.assign(url);
  return new Promise(() => {});
}

// Expects nobody back.
export const forget = () => kept.drop(UNDER_WAY);

// In a window that an embedded page opened: gives that page what the service gave, and closes. Whether it is such a window.
export function handOver() {
  if (window.name !== WINDOW || !window.opener) return false;
  window.opener.postMessage({ back: { search: location.search, hash: location.hash } }, location.origin);
  history.replaceState(null, "", HOME);
  window.close();
  return true;
}

// Hears of it, in the embedded page.
export function onHandedOver(then) {
  window.addEventListener("message", (event) => {
    const back = event.origin === location.origin ? event.data?.back : null;
    if (typeof back?.search === "string" && typeof back.hash === "string") then(arrive(back.search, back.hash));
  });
}

function underWay() {
  try {
    return JSON.parse(kept.get(UNDER_WAY) ?? "null");
  } catch {
    return null;
  }
}

// What an address says of the way back; nothing for one that nobody came back to. An address proves nothing: it counts only if this tab has begun, and
// a confirmation only with the nonce that it began with.
export function arrive(search, hash) {
  const [query, fragment] = [new URLSearchParams(search), new URLSearchParams(hash.slice(1))];
  const going = underWay();
  const confirm = fragment.get("confirm_token");
  if (confirm !== null) {
    const own = going?.what === "authorize" && fragment.get("nonce") === going.nonce && fragment.get("service_id") === going.service;
    forget();
    return own ? { going, confirm } : { foreign: true };
  }
  if (!going) return null;
  if (query.has("error_type") && query.get("service_id") === going.service) {
    forget();
    return { going, error: query.get("error_message") ?? query.get("error_type") };
  }
  // Back from a revocation, or by the browser's button: the connection itself tells which.
  if (going.what !== "revoke") return null;
  forget();
  return { going };
}
