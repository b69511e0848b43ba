// Elements. Texts become text nodes: nothing that comes from elsewhere is ever read as HTML.

export const byId = (id) => document.getElementById(id);

// An element with attributes and listeners (`onclick`), and its children: elements and texts, of which `null` and `false` are left out.
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(key, value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// A URL of one of these schemes, or nothing.
export function webUrl(text, schemes = ["https:"]) {
  if (typeof text !== "string" || !URL.canParse(text)) return null;
  const url = new URL(text);
  return schemes.includes(url.protocol) && !url.username && !url.password ? url : null;
}

// A link that opens elsewhere and tells nothing of this page; only its text, if it leads nowhere.
export function away(text, to) {
  const url = webUrl(to);
  return url ? el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, text) : text;
}

// Says what happened, or what went wrong. Both places are there from the start, so that screen readers tell what comes into them.
export function say(words, wrong = false) {
  byId("told").textContent = wrong ? "" : words;
  byId("alert").textContent = wrong ? words : "";
}

// Asks before something that cannot be undone.
export function sure(title, words, yes) {
  const dialog = byId("sure");
  byId("sure-title").textContent = title;
  byId("sure-words").textContent = words;
  byId("sure-yes").textContent = yes;
  return new Promise((resolve) => {
    const answer = { no: () => dialog.close(), yes: () => dialog.close("yes") };
    byId("sure-no").onclick = answer.no;
    byId("sure-yes").onclick = answer.yes;
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.returnValue = "";
    dialog.showModal();
    byId("sure-no").focus();
  });
}
