// One service: where its connection stands, what it asks for, and what can be done with it.

import { away, el, sure, webUrl } from "./dom.js";
import { fieldsOf } from "./fields.js";
import { pill, tile } from "./list.js";
import { call, pathOf, Trouble } from "./session.js";
import { leave } from "./travel.js";
import { family, isHeld, refused, signsIn, standing, when } from "./words.js";

const pathTo = (one) => pathOf(one.unified_api, one.service_id);

// A connection as it stands now, with the version to send back.
export async function look(api, service) {
  const { data, version } = await call("GET", pathOf(api, service));
  return { one: data, version };
}

async function goTo(link, what, one) {
  if (!link) throw new Trouble("This session does not permit that.", { moved: true });
  if (await leave(link, what, one)) return `Go on in the window of ${one.name}.`;
  throw new Trouble(`The window for ${one.name} was not opened. Allow this page to open windows, and try again.`, { moved: true });
}

// Sends what was entered. `connect` then goes on to the service, or asks it for access.
async function submit({ one, version }, fields, connect) {
  const settings = fields.read();
  const isNew = connect && one.state === "available";
  const body = { ...(isNew ? { enabled: true } : {}), ...(Object.keys(settings).length ? { settings } : {}) };
  const asks = Object.keys(body).length && !(connect && signsIn(one) && !body.settings);
  // The link of a while ago may have ended: there is a new one with every look.
  const now = asks ? await call("PATCH", pathTo(one), { body, version }) : await call("GET", pathTo(one));
  if (connect && signsIn(one)) return goTo(now.data.authorize_url, "authorize", one);
  if (connect && one.auth_type === "oauth2") await asked(one);
  return connect || standing(one).tone !== "good" ? null : "Saved.";
}

async function asked(one) {
  try {
    await call("POST", `${pathTo(one)}/token`);
  } catch (trouble) {
    if (!(trouble instanceof Trouble) || trouble.ended || trouble.status === 0) throw trouble;
    throw new Trouble(refused(one.name, trouble.message), { status: trouble.status });
  }
}

async function disconnect({ one }) {
  const words = `Access to ${one.name} is taken back, there and here. What you entered is kept, and you can connect again.`;
  if (!(await sure(`Disconnect ${one.name}?`, words, "Disconnect"))) return undefined;
  return goTo((await call("GET", pathTo(one))).data.revoke_url, "revoke", one);
}

async function remove({ one, version }) {
  const words = `The connection to ${one.name} and everything entered for it are removed. This cannot be undone.`;
  if (!(await sure(`Delete the connection to ${one.name}?`, words, "Delete"))) return undefined;
  await call("DELETE", pathTo(one), { version });
  return `The connection to ${one.name} was deleted.`;
}

async function enable({ one, version }, enabled) {
  await call("PATCH", pathTo(one), { body: { enabled }, version });
  return enabled ? `${one.name} is in use again.` : `${one.name} is paused.`;
}

async function allow({ one, version }) {
  // Again what was allowed before: never more.
  const before = (one.consents ?? []).findLast((consent) => consent.granted) ?? one.latest_consent;
  await call("PATCH", `${pathTo(one)}/consent`, { body: { granted: true, resources: before?.resources ?? "*" }, version });
  return `Your data at ${one.name} may be used again.`;
}

async function again({ one }) {
  await call("POST", `${pathTo(one)}/validate`);
  return null;
}

// What the main button of a form does.
function forms(one, may) {
  const offered = one.status === "live" && one.integration_state !== "disabled";
  const held = isHeld(one) && one.auth_type === "oauth2";
  if (!offered) return { connect: null, save: one.state !== "available" };
  if (one.state !== "available" && !one.enabled) return { connect: null, save: true };
  if (one.auth_type !== "oauth2") return one.state === "callable" ? { connect: null, save: true } : { connect: "Connect", save: false };
  const permitted = signsIn(one) ? Boolean(one.authorize_url) : !held || may("reauthorize");
  if (!permitted) return { connect: null, save: true };
  const words = signsIn(one) ? `Connect with ${one.name}` : "Connect";
  return held ? { connect: "Connect again", save: true } : { connect: words, save: false };
}

// Who brings a client of their own has to tell the service where its users are sent back to.
function wayBack(one) {
  const own = signsIn(one) && one.form_fields.some((field) => field.id === "client_id" && !field.hidden);
  const link = own ? webUrl(one.authorize_url, ["https:", "http:"]) : null;
  if (!link) return null;
  return el("p", { class: "hint" }, `Where ${one.name} asks for a redirect or callback URL, give it `, el("code", {}, `${link.origin}/vault/callback`), ".");
}

function settingsOf(seen, may, run) {
  const { one } = seen;
  const fields = fieldsOf(one);
  const { connect, save } = forms(one, may);
  const saves = save && fields.rows.length > 0;
  if (fields.rows.length === 0 && !connect) return null;
  const first = saves || isHeld(one) ? "" : "main";
  const buttons = [
    saves ? el("button", { type: "submit", class: "main", value: "save", "data-act": "save" }, "Save") : null,
    connect ? el("button", { type: "submit", class: first, value: "connect", "data-act": "connect" }, connect) : null,
  ];
  const send = (event) => {
    event.preventDefault();
    const act = event.submitter?.value ?? (saves ? "save" : "connect");
    run(act, () => submit(seen, fields, act === "connect"));
  };
  const title = fields.rows.length > 0 ? el("h2", {}, signsIn(one) ? "Details" : "Your details at " + one.name) : null;
  const usable = saves || connect !== null;
  const body = el("fieldset", { class: "bare", disabled: !usable }, fields.rows);
  const words = `You sign in at ${one.name} and come back here. Your password is not seen by this page.`;
  const leads = connect && signsIn(one) ? el("p", { class: "hint" }, words) : null;
  const rest = usable ? [wayBack(one), leads, el("div", { class: "buttons" }, buttons)] : [];
  return el("form", { class: "card", onsubmit: send }, title, body, rest);
}

function more(seen, may, run) {
  const { one } = seen;
  if (one.state === "available") return null;
  const button = (act, words, work, kind = "") => {
    const onclick = () => run(act, () => work(seen));
    return el("button", { type: "button", class: kind, "data-act": act, onclick }, words);
  };
  const buttons = [
    one.health === "needs_consent" ? button("allow", "Allow use of my data", allow) : null,
    one.health === "pending_refresh" && one.enabled ? button("again", "Try again now", again) : null,
    one.enabled ? null : button("enable", "Resume", (seen) => enable(seen, true)),
    one.enabled && may("disable") ? button("enable", "Pause", (seen) => enable(seen, false)) : null,
    one.revoke_url ? button("disconnect", "Disconnect", disconnect) : null,
    may("delete") ? button("delete", "Delete", remove, "danger") : null,
  ].filter(Boolean);
  if (buttons.length === 0) return null;
  const title = el("h2", { id: "title-more" }, "This connection");
  return el("section", { class: "card", "aria-labelledby": "title-more" }, title, el("div", { class: "buttons" }, buttons));
}

// The view of a service. `run` does the work of a button, and shows what came of it.
export function serviceView(seen, may, run) {
  const { one } = seen;
  const { words, tone } = standing(one);
  const since = one.created_at ? el("p", { class: "hint" }, `Added on ${when(one.created_at)}`) : null;
  const line = [family(one.unified_api), one.tag_line].filter(Boolean).join(" · ");
  const names = el("div", { class: "words" }, el("h1", { tabindex: "-1" }, one.name), el("p", { class: "line" }, line));
  const head = el("div", { class: "head" }, tile(one), names, pill(one));
  const site = one.website ? el("p", { class: "hint" }, away(`About ${one.name}`, one.website)) : null;
  return [
    el("p", {}, el("a", { class: "up", href: "#/" }, "All services")),
    head,
    el("div", { class: `card state ${tone}` }, el("p", {}, words), since, site),
    settingsOf(seen, may, run),
    more(seen, may, run),
  ];
}

// Ends an authorization that came back, and says how.
export async function confirm({ going, confirm: token, error, foreign }) {
  if (foreign) return { words: "This sign-in was not begun in this window, so it was not accepted. Connect again here.", wrong: true };
  const stayed = () => `${going.name} was not disconnected: ${error.slice(0, 300)}`;
  if (error !== undefined) return { words: going.what === "revoke" ? stayed() : refused(going.name, error), wrong: true };
  if (token === undefined) return { words: "" };
  await call("POST", `${pathOf(going.api, going.service)}/confirm`, { body: { confirm_token: token } });
  return { words: null };
}

