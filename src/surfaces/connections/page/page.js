// The page: which view is shown, how it looks, and what it says of what was done.

import { byId, el, say, webUrl } from "./dom.js";
import { hashOf, listView } from "./list.js";
import { confirm, look, serviceView } from "./service.js";
import { call, claims, HOME, open, Trouble } from "./session.js";
import { arrive, forget, handOver, isFramed, onHandedOver } from "./travel.js";
import { standing } from "./words.js";

let services = null;
let opened = null;
let latest = 0;

const allowed = () => claims().settings?.allow_actions;
const may = (action) => !Array.isArray(allowed()) || allowed().includes(action);
const backTo = () => webUrl(claims().redirect_uri, ["https:", "http:"]);

// Only once a call has shown that the token is genuine: anyone can write one that says what they like.
function dress() {
  const { theme = {}, consumer_metadata: who = {} } = claims();
  const text = (value) => (typeof value === "string" ? value.slice(0, 100) : "");
  const colour = (value) => (/^#([0-9a-f]{3}|[0-9a-f]{6})$/i.test(value ?? "") ? value : null);
  byId("vault").textContent = document.title = text(theme?.vault_name) || "Connections";
  const name = [text(who?.account_name), text(who?.user_name)].filter(Boolean).join(" · ");
  byId("consumer").textContent = name && `For ${name}`;
  byId("consumer").hidden = name === "";
  const logo = webUrl(theme?.logo);
  byId("logo").hidden = !logo;
  if (logo) byId("logo").src = logo.href;
  const icon = webUrl(theme?.favicon);
  if (icon) byId("icon").href = icon.href;
  paint("main", colour(theme?.primary_color));
  if (colour(theme?.sidepanel_background_color)) paint("top", theme.sidepanel_background_color, colour(theme.sidepanel_text_color));
  const back = backTo();
  byId("back").hidden = !back;
  if (back) Object.assign(byId("back"), { href: back.href, target: isFramed ? "_top" : "_self", textContent: `Back to ${back.host}` });
  const legal = [["Privacy", theme?.privacy_url], ["Terms", theme?.terms_url]].filter(([, url]) => webUrl(url));
  const links = legal.map(([words, url]) => el("a", { href: webUrl(url).href, target: "_blank", rel: "noopener noreferrer" }, words));
  byId("legal").replaceChildren(...links);
}

// A colour, and black or white on it, whichever is read more easily (WCAG 2: relative luminance).
function paint(name, colour, on = null) {
  if (!colour) return;
  const digits = colour.length === 4 ? Array.from(colour.slice(1), (digit) => digit + digit) : colour.slice(1).match(/../g);
  const [red, green, blue] = digits.map((pair) => {
    const part = parseInt(pair, 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  document.documentElement.style.setProperty(`--${name}`, colour);
  document.documentElement.style.setProperty(`--on-${name}`, on ?? (light > 0.179 ? "#000000" : "#ffffff"));
}

function show(...children) {
  byId("main").replaceChildren(...children.filter(Boolean));
  byId("main").setAttribute("aria-busy", "false");
}

// A view that is only words.
function plain(title, words, ...more) {
  opened = null;
  show(el("section", { class: "card plain" }, el("h1", { tabindex: "-1" }, title), el("p", {}, words), ...more));
}

const focusTitle = () => byId("main").querySelector("h1")?.focus();

function ended() {
  say("");
  const { hidden, href, target, textContent } = byId("back");
  const back = hidden ? null : el("div", { class: "buttons" }, el("a", { class: "button main", href, target }, textContent));
  plain("This session has ended", "For your safety it lasts for a limited time. Go back to the app that sent you here and open this page again.", back);
  focusTitle();
}

// What went wrong while something was to be shown.
function failed(trouble) {
  if (!(trouble instanceof Trouble)) console.error(trouble);
  if (trouble.ended) return ended();
  const known = trouble.status === 404 ? "Maybe it was once: look at what is offered now." : trouble.message;
  const words = trouble instanceof Trouble ? known : "Something went wrong on this page.";
  const button = el("button", { type: "button", class: "main", onclick: () => route() }, "Try again");
  const title = trouble.status === 404 ? "There is no such service" : "This did not work";
  plain(title, words, el("div", { class: "buttons" }, button, el("a", { class: "button", href: "#/" }, "All services")));
  return focusTitle();
}

// Takes note of a connection as it stands now, and shows it.
function present(seen) {
  opened = seen;
  const same = (one) => one.id === seen.one.id;
  if (services) services = services.some(same) ? services.map((one) => (same(one) ? seen.one : one)) : [...services, seen.one];
  show(...serviceView(seen, may, run));
}

// What is to be said of a connection that was worked on: these words, or how it stands now. Back to the app if it works, and the app wants that.
function outcome(after, words) {
  if (words === null && standing(after).tone === "good") {
    say(`${after.name} is connected.`);
    const back = backTo();
    if (claims().settings?.auto_redirect === true && back && !isFramed) location.assign(back.href);
    return;
  }
  const now = standing(after);
  if (words === null || now.tone === "wrong") say(now.words, now.tone !== "good");
  else say(words);
}

// Does the work of a button: `work` gives what to say, `null` for how the connection then stands, nothing where nothing was done.
async function run(act, work) {
  const before = opened.one;
  const controls = [...byId("main").querySelectorAll("button, fieldset.bare")].filter((control) => !control.disabled);
  say("");
  controls.forEach((control) => (control.disabled = true));
  byId("main").setAttribute("aria-busy", "true");
  const restore = () => {
    controls.forEach((control) => (control.disabled = false));
    byId("main").setAttribute("aria-busy", "false");
    focusOn(act);
  };
  let trouble = null;
  let words;
  try {
    words = await work();
  } catch (caught) {
    trouble = caught;
  }
  if (trouble?.ended) return ended();
  if (trouble && !(trouble instanceof Trouble)) console.error(trouble);
  // What was entered stays where it was refused; where something moved, the page shows what is there now.
  const stays = words === undefined && !trouble?.moved && (!trouble || [0, 400, 403, 413, 503].includes(trouble.status));
  if (stays) {
    restore();
    if (trouble) say(trouble instanceof Trouble ? trouble.message : "Something went wrong on this page.", true);
    return undefined;
  }
  try {
    const seen = await look(before.unified_api, before.service_id);
    present(seen);
    focusOn(act);
    if (trouble) say(trouble.message, true);
    else outcome(seen.one, words);
  } catch (caught) {
    failed(caught);
  }
  return undefined;
}

// Where the user was; the title, if that is there no more.
function focusOn(act) {
  const again = byId("main").querySelector(`[data-act="${act}"]`);
  if (again) again.focus();
  else focusTitle();
}

// Shows what the address names.
async function route() {
  const number = (latest += 1);
  const [, api, service] = location.hash.match(/^#\/([^/]+)\/([^/]+)$/) ?? [];
  const from = opened?.one;
  try {
    if (api) {
      const seen = await look(decodeURIComponent(api), decodeURIComponent(service));
      if (number !== latest) return;
      dress();
      present(seen);
      focusTitle();
      window.scrollTo(0, 0);
      return;
    }
    services ??= (await call("GET", "/vault/connections")).data;
    if (number !== latest) return;
    opened = null;
    dress();
    show(...listView(services));
    const link = from && [...byId("main").querySelectorAll("a.row")].find((link) => link.getAttribute("href") === hashOf(from));
    if (link) link.focus();
  } catch (trouble) {
    if (number === latest) failed(trouble);
  }
}

// After the way back from a service.
async function land(arrival) {
  const { going } = arrival;
  history.replaceState(null, "", HOME + (going ? hashOf({ unified_api: going.api, service_id: going.service }) : ""));
  try {
    const told = await confirm(arrival).catch((trouble) => {
      if (trouble.ended || !(trouble instanceof Trouble)) throw trouble;
      return { words: `${going.name} was not connected: ${trouble.message}`, wrong: true };
    });
    await route();
    if (told.words) say(told.words, told.wrong);
    else if (opened && told.words === null) outcome(opened.one, null);
    else if (opened && going.what === "revoke" && !opened.one.revoke_url) say(`${going.name} is disconnected.`);
  } catch (trouble) {
    failed(trouble);
  }
}

// Looks once more when the session's time is over, so that nobody fills in a form in vain.
function watchTheEnd() {
  const left = claims().exp * 1000 - Date.now();
  if (left > 0 && left < 2 ** 31) setTimeout(() => call("GET", "/vault/connections?configured=true").catch((trouble) => trouble.ended && ended()), left + 1000);
}

function start() {
  const { pathname, search, hash } = location;
  if (handOver()) return plain("Done", "You can close this window.");
  // Who comes with a token begins: nobody comes back with one.
  if (pathname !== HOME) forget();
  const arrival = arrive(search, hash);
  if (!open()) return plain("This page needs a link", "Open it from the app that sent you here.");
  window.addEventListener("hashchange", () => {
    say("");
    route();
  });
  // Who goes on has read what was done.
  byId("main").addEventListener("input", () => say(""));
  // Back by the browser's button, the page is as it was left: with its buttons out of use.
  window.addEventListener("pageshow", (event) => event.persisted && route());
  onHandedOver((arrival) => arrival && land(arrival));
  watchTheEnd();
  return arrival ? land(arrival) : route();
}

start();
