// The list of services: those with a connection first.

import { el } from "./dom.js";
import { family, standing } from "./words.js";

const shown = { text: "", api: "" };

export const hashOf = (one) => `#/${encodeURIComponent(one.unified_api)}/${encodeURIComponent(one.service_id)}`;

export function pill(one) {
  const { label, tone } = standing(one);
  return el("span", { class: `pill ${tone}` }, label);
}

// The first letter of a name stands for a logo.
export const tile = (one) => el("span", { class: "tile", "aria-hidden": "true" }, (Array.from(one.name.trim())[0] ?? "?").toUpperCase());

function row(one, withFamily) {
  const line = [withFamily ? family(one.unified_api) : null, one.tag_line].filter(Boolean).join(" · ");
  const words = el("span", { class: "words" }, el("span", { class: "name" }, one.name), line ? el("span", { class: "line" }, line) : null);
  const state = one.state === "available" && one.status === "live" ? null : pill(one);
  return el("li", {}, el("a", { class: "row", href: hashOf(one) }, tile(one), words, state));
}

function section(title, ones, withFamily) {
  if (ones.length === 0) return null;
  const id = `title-${title.toLowerCase().replaceAll(" ", "-")}`;
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), el("ul", { class: "rows" }, ones.map((one) => row(one, withFamily))));
}

const holds = (one, text) => [one.name, one.tag_line ?? "", family(one.unified_api)].some((part) => part.toLowerCase().includes(text));

function results(all, apis) {
  const text = shown.text.trim().toLowerCase();
  const found = all.filter((one) => (shown.api === "" || one.unified_api === shown.api) && holds(one, text));
  const yours = found.filter((one) => one.state !== "available");
  const others = found.filter((one) => one.state === "available");
  const several = apis.length > 1;
  const count = found.length === 0 ? "No service matches." : `${found.length} ${found.length === 1 ? "service" : "services"}`;
  return { count, sections: [section("Your connections", yours, several), section(yours.length ? "More services" : "Services", others, several)] };
}

// The whole list, over all services that can be seen.
export function listView(every) {
  const byName = (one, other) => one.name.localeCompare(other.name, "en");
  // What the operator has switched off is no offer.
  const all = every.filter((one) => one.state !== "available" || one.integration_state !== "disabled").toSorted(byName);
  const title = el("h1", { tabindex: "-1" }, "Connect your services");
  if (all.length === 0) return [title, el("p", { class: "quiet" }, "There is no service to connect here.")];
  const apis = [...new Set(all.map((one) => one.unified_api))].toSorted((one, other) => family(one).localeCompare(family(other), "en"));
  const place = el("div", {});
  const count = el("p", { class: "count", role: "status" });
  const show = () => {
    const { count: words, sections } = results(all, apis);
    if (count.textContent !== words) count.textContent = words;
    place.replaceChildren(...sections.filter(Boolean));
  };
  const search = el("input", { id: "search", type: "search", value: shown.text, placeholder: "Name of a service", autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => {
    shown.text = search.value;
    show();
  });
  if (!apis.includes(shown.api)) shown.api = "";
  const sorts = apis.map((api) => el("option", { value: api, selected: api === shown.api }, family(api)));
  const sort = el("select", { id: "category" }, el("option", { value: "" }, "All categories"), sorts);
  sort.addEventListener("change", () => {
    shown.api = sort.value;
    show();
  });
  const field = (label, input) => el("div", { class: "field" }, el("label", { for: input.id }, label), input);
  show();
  const tools = el("div", { class: "tools", role: "search" }, field("Search", search), apis.length > 1 ? field("Category", sort) : null);
  return [title, tools, count, place];
}
