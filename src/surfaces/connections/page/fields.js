// What a service asks for, as a form. Secrets that are there already stand as masks, which are sent back unchanged and then change nothing.

import { el } from "./dom.js";

const KEEPS = "Leave empty to keep the stored value";
const INPUTS = { tel: "tel", email: "email", url: "url", number: "number", date: "date", time: "time", datetime: "datetime-local", password: "password" };

// Choices, and groups of choices.
function options(list, chosen) {
  return list.map((option) =>
    option.option_type === "group"
      ? el("optgroup", { label: option.label }, options(option.options ?? [], chosen))
      : el("option", { value: option.value, selected: String(option.value) === chosen }, option.label),
  );
}

const flat = (list) => list.flatMap((option) => (option.option_type === "group" ? flat(option.options ?? []) : [option]));

function select(field, attributes) {
  const chosen = String(field.value ?? "");
  const list = field.options ?? [];
  const known = chosen === "" || flat(list).some((option) => String(option.value) === chosen);
  const none = el("option", { value: "", selected: chosen === "" }, field.required ? "Choose…" : "None");
  const other = known ? null : el("option", { value: chosen, selected: true }, chosen);
  return el("select", attributes, none, options(list, chosen), other);
}

// The mask goes while a new value is typed, and comes back if none is: a mask with letters in it would be stored as a secret. What is not required may
// be removed.
function masked(field, input, required) {
  const mask = field.value;
  let removed = false;
  input.value = mask;
  input.addEventListener("focus", () => {
    if (input.value === mask) input.value = "";
  });
  input.addEventListener("blur", () => {
    if (input.value === "" && !removed) input.value = mask;
  });
  const turn = () => {
    removed = !removed;
    input.value = removed ? "" : mask;
    input.disabled = removed;
    input.placeholder = removed ? "Removed when you save" : KEEPS;
    remove.textContent = removed ? `Keep ${field.label}` : `Remove ${field.label}`;
  };
  const remove = required ? null : el("button", { type: "button", class: "small", onclick: turn }, `Remove ${field.label}`);
  const read = () => (removed ? null : input.value === "" ? mask : input.value);
  return { input, read, more: remove };
}

function textual(field, attributes) {
  if (field.type === "textarea") return el("textarea", { ...attributes, rows: "4", spellcheck: "false" });
  const type = field.sensitive ? "password" : (INPUTS[field.type] ?? "text");
  return el("input", { ...attributes, type, spellcheck: "false", step: type === "number" ? "any" : null });
}

function valueOf(field, input) {
  if (input.value === "") return field.value === "" || field.value === null ? undefined : null;
  return input.type === "number" ? Number(input.value) : input.value;
}

function line(field, attributes, required) {
  const isSelect = ["select", "filtered-select"].includes(field.type);
  const input = isSelect ? select(field, attributes) : textual(field, attributes);
  if (field.mask) return masked(field, input, required);
  if (!isSelect) {
    input.value = field.value ?? "";
    // A browser drops what does not fit the type, and it must not be lost by saving something else.
    if (input.value !== String(field.value ?? "")) {
      input.type = "text";
      input.value = field.value;
    }
  }
  return { input, read: () => valueOf(field, input) };
}

const named = (field, required) => [field.label, required ? null : el("span", { class: "optional" }, " (optional)")];

function several(field, id, hint, required) {
  const chosen = Array.isArray(field.value) ? field.value.map(String) : [];
  const box = (option) => el("input", { type: "checkbox", checked: chosen.includes(String(option.value)) });
  const boxes = flat(field.options ?? []).map((option) => [option.value, box(option), option.label]);
  const rows = boxes.map(([, box, label]) => el("label", { class: "check" }, box, label));
  const row = el("fieldset", { class: "field", id, "aria-describedby": hint ? hint.id : null }, el("legend", {}, named(field, required)), rows, hint);
  const read = () => boxes.filter(([, box]) => box.checked).map(([value]) => value);
  return { row, read };
}

function row(field, required, number) {
  const id = `field-${number}`;
  const words = [field.mask ? "A value is stored. Type to replace it." : "", field.description].filter(Boolean).join(" ");
  const hint = words ? el("p", { class: "hint", id: `${id}-hint` }, words) : null;
  const attributes = { id, disabled: field.disabled, "aria-describedby": hint ? hint.id : null };
  if (field.type === "multi-select") return several(field, id, hint, required);
  if (field.type === "checkbox") {
    const box = el("input", { ...attributes, type: "checkbox", checked: field.value === true || field.value === "true" });
    return { row: el("div", { class: "field" }, el("label", { class: "check" }, box, field.label), hint), read: () => box.checked };
  }
  const placeholder = field.mask ? KEEPS : field.placeholder || null;
  const { input, read, more } = line(field, { ...attributes, required: required && !field.mask, placeholder, autocomplete: "off" }, required);
  return { row: el("div", { class: "field" }, el("label", { for: id }, named(field, required)), input, hint, more), read };
}

// The fields of a connection: their elements, and what was entered. `null` removes a value; what was and stays empty is left out.
export function fieldsOf(one) {
  const shown = one.form_fields.filter((field) => !field.hidden);
  const needed = (field) => field.required || one.settings_required_for_authorization.includes(field.id);
  const rows = shown.map((field, number) => ({ field, ...row(field, needed(field), number) }));
  const read = () => {
    const usable = rows.filter(({ field }) => !field.disabled);
    return Object.fromEntries(usable.map((one) => [one.field.id, one.read()]).filter(([, value]) => value !== undefined));
  };
  return { rows: rows.map((one) => one.row), read };
}
