// States and health in plain words.

const FAMILIES = { ats: "ATS", crm: "CRM", hris: "HRIS", pos: "POS", sms: "SMS" };

export function family(api) {
  const words = api.replaceAll("-", " ");
  return FAMILIES[api] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

const format = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export const when = (milliseconds) => format.format(new Date(milliseconds));

// Whether a user signs in at the service.
export const signsIn = (one) => one.auth_type === "oauth2" && one.oauth_grant_type === "authorization_code";

// Whether the service has given access.
export const isHeld = (one) => ["callable", "authorized"].includes(one.state);

const status = (label, tone, words) => ({ label, tone, words });

function retrying(one) {
  const failed = one.last_refresh_failed_at ? ` The latest try, on ${when(one.last_refresh_failed_at)}, failed.` : "";
  const ends = one.credentials_expire_at ? ` If none succeeds by ${when(one.credentials_expire_at)}, you have to connect again.` : "";
  return `Access to ${one.name} has to be renewed.${failed} It is tried again by itself.${ends}`;
}

function unfinished(one) {
  if (signsIn(one)) return status("Not finished", "warn", `Sign in at ${one.name} to finish.`);
  if (one.auth_type === "oauth2") return status("Not finished", "warn", `${one.name} has not given access yet. Check the details, and connect.`);
  return status("Details missing", "warn", "Some details are still missing. Enter them below.");
}

function offered(one) {
  if (one.status !== "live") return status("Coming soon", "none", `${one.name} cannot be connected yet.`);
  if (one.integration_state === "disabled") return status("Not offered", "none", `${one.name} cannot be connected at the moment.`);
  return null;
}

// Where a connection stands: a label, its tone, and a sentence. What keeps it from working comes first.
export function standing(one) {
  const { name } = one;
  if (one.state === "available") return offered(one) ?? status("Not connected", "none", `${name} is not connected.`);
  if (!one.enabled) return status("Paused", "warn", `Paused: ${name} is not used until you resume. What you entered is kept.`);
  if (one.integration_state === "disabled") return status("Switched off", "warn", `Connections to ${name} are switched off at the moment. Yours is kept.`);
  switch (one.health) {
    case "revoked":
      return status("Disconnected", "warn", `Access to ${name} was taken back. Connect again to use it.`);
    case "needs_consent":
      return status("Not allowed", "warn", `You do not allow your data at ${name} to be used. Nothing is read or written until you do.`);
    case "pending_confirmation":
      return status("Not confirmed", "warn", `You signed in at ${name}, but did not come back to the window where you began. Connect again.`);
    case "pending_refresh":
      return status("Renewal failing", "wrong", retrying(one));
    case "degraded": {
      const since = one.last_downstream_error_at ? ` (${when(one.last_downstream_error_at)})` : "";
      return status("Connected, with trouble", "warn", `${name} did not answer the latest call${since}. Your details are in order.`);
    }
  }
  switch (one.state) {
    case "invalid":
      return status("Not accepted", "wrong", `${name} does not accept these details. Correct them below.`);
    case "authorized":
      return status("Details missing", "warn", `${name} gave access. Some details are still missing: enter them below.`);
    case "callable":
      return status("Connected", "good", `${name} is connected and working.`);
    default:
      return unfinished(one);
  }
}

// What a service, or the way back from it, said about an error.
export function refused(name, message) {
  if (message.startsWith("access_denied")) return `${name} was not connected: access was not allowed there.`;
  return `${name} was not connected: ${message.slice(0, 300)}`;
}
