//! All nouns and their verbs, as rows.

use super::verb::{Asks, Flag, Pages, Sort, Takes, Verb};

/// A sort of thing.
pub(super) struct Noun {
    /// Empty for verbs that stand alone.
    pub name: &'static str,
    pub about: &'static str,
    /// What stands for one in the help, and how it may be given.
    pub value: &'static str,
    pub given: &'static str,
    /// The member that may be given in place of the id, where the API takes the id only.
    pub known_by: Option<&'static str>,
    /// Columns of a list; one thing shows these members first.
    pub columns: &'static [&'static str],
    pub verbs: &'static [Verb],
}

impl Noun {
    /// The verb that lists all of them.
    pub fn list(&self) -> Option<&'static Verb> {
        self.verbs.iter().find(|verb| verb.pages.is_some())
    }
}

pub(super) const NOUNS: [&Noun; 14] =
    [&ALONE, &USER, &ROLE, &ORG, &APP, &KEY, &SESSION, &CREDENTIAL, &INTEGRATION, &TOKEN, &WEBHOOK, &TENANT, &super::audit::AUDIT, &super::shred::SHRED];

const NAME: Flag = Flag::text("name", "name", "NAME", "The name to show");
const NEW_NAME: Flag = Flag::text("name", "name", "NAME", "A new name");
const EMAIL: Flag = Flag::text("email", "email", "EMAIL", "Where to reach the person").clears();
const ROLES: Flag = Flag::texts("role", "roles", "ROLE", "A role, by name or id");
const PERMISSIONS: Flag = Flag::texts("permission", "permissions", "PERMISSION", "A permission, such as connections:read");
const APP_IDS: Flag = Flag::texts("app-id", "app_ids", "ID", "An application id of the connections surface that it may name, else any");
const GRACE: Flag =
    Flag::of("grace-seconds", "grace_seconds", "SECONDS", Sort::Number, "How long the earlier secret still works beside the new one [default: 0]");
const EXPIRES: Flag = Flag::of("expires-at", "expires_at", "INSTANT", Sort::Instant, "When it ends by itself, such as 2027-01-01T00:00:00Z").clears();
const EMAILS: Flag = Flag::texts("email", "emails", "EMAIL", "Whom to tell about it");
const ORGANIZATIONS: Flag = Flag::of("organization", "organizations", "ORG", Sort::Organizations, "An organisation that it serves, by name or id");
const LABELS: Flag = Flag::texts("label", "labels", "LABEL", "A free label");
const DNS_NAME: Flag = Flag::text("dns-name", "dns_name", "NAME", "SFTP user name").clears();

const ROTATE: Verb =
    Verb { name: "rotate", about: "Give it a new secret, shown once", path: "credentials/{}/rotate", flags: &[GRACE], if_match: true, ..Verb::POST };
const BLOCK: Verb = Verb { name: "block", about: "Refuse it for now", fixed: Some(("blocked", true)), ..Verb::UPDATE };
const UNBLOCK: Verb = Verb { name: "unblock", about: "Let it in again", fixed: Some(("blocked", false)), ..Verb::UPDATE };

const ALONE: Noun = Noun {
    name: "",
    about: "",
    value: "ID",
    given: "The thing's id",
    known_by: None,
    columns: &["id", "kind", "user", "tenant"],
    verbs: &[
        Verb {
            name: "login",
            about: "Log in with a password and print the session's token: export KEYLEDGER_TOKEN=$(keyledger login ann)",
            path: "sessions",
            takes: Takes::New("login", "LOGIN"),
            flags: &[
                Flag::text("tenant", "tenant", "NAME", "The user's tenant [default: default]"),
                Flag::of("seconds", "seconds", "SECONDS", Sort::Number, "How long the session lives [default: 43200]"),
            ],
            asks: Asks::Secret("password", "Password"),
            repeatable: false,
            open: true,
            only: Some("token"),
            ..Verb::POST
        },
        Verb {
            name: "logout",
            about: "End the session whose token is given",
            path: "sessions/current",
            takes: Takes::Nothing,
            if_match: false,
            ..Verb::DELETE
        },
        Verb { name: "whoami", about: "Show what the token proves and permits", path: "me", takes: Takes::Nothing, as_of: false, ..Verb::READ },
        Verb {
            name: "history",
            about: "What became of a thing of any kind: who did what, when, and what it changed",
            path: "history/{}",
            pages: Some(Pages::Many),
            columns: &["position", "recorded_at", "type", "changed", "actor", "ip"],
            ..Verb::READ
        },
        Verb {
            name: "diff",
            about: "What differs between two moments",
            path: "diff",
            flags: &[
                Flag::text("from", "from", "POSITION|INSTANT", "The earlier moment").required(),
                Flag::text("to", "to", "POSITION|INSTANT", "The later moment [default: now]"),
                Flag::text("kind", "kind", "KIND", "Only things of this kind"),
                Flag::text("tenant", "tenant", "NAME", "Things of this tenant [default: one's own]; `*` for all"),
                Flag::text("consumer", "consumer", "APP/CONSUMER", "A consumer and its connections only"),
                Flag::text("id", "id", "ID", "Only this thing"),
            ],
            columns: &["id", "kind", "how", "changed"],
            ..Verb::LIST
        },
        Verb {
            name: "recoveries",
            about: "What was put back to a moment",
            path: "recoveries",
            columns: &["id", "started_at", "to", "things", "reverted", "finished_at"],
            ..Verb::LIST
        },
        Verb {
            name: "exposure",
            about: "Show who could read a credential's secret, who did, what came of it and what to change",
            path: "credentials/{}/exposure",
            flags: &[
                Flag::of("version", "version", "N", Sort::Number, "The version that brought the secret [default: the one in use]"),
                Flag::text("name", "name", "NAME", "The secret, such as refresh_token [default: all of the version]"),
            ],
            ..Verb::READ
        },
        Verb {
            name: "resume",
            about: "After a restore: let exchanges, renewals, passed calls and webhooks go out again",
            path: "vault/resume",
            takes: Takes::Nothing,
            repeatable: false,
            ..Verb::POST
        },
    ],
};

pub(super) const USER: Noun = Noun {
    name: "user",
    about: "People: their roles and passwords",
    value: "USER",
    given: "Its login or id; `me` is the user as whom you act",
    known_by: Some("login"),
    columns: &["id", "login", "name", "email", "roles", "blocked"],
    verbs: &[
        Verb { about: "List users", path: "users", ..Verb::LIST },
        Verb { about: "Show a user", path: "users/{}", ..Verb::READ },
        Verb {
            about: "Make a user; without a password it cannot log in yet",
            path: "users",
            takes: Takes::New("login", "LOGIN"),
            flags: &[NAME, EMAIL, ROLES],
            asks: Asks::FirstPassword,
            ..Verb::CREATE
        },
        Verb {
            about: "Change a user",
            path: "users/{}",
            flags: &[Flag::text("login", "login", "LOGIN", "A new login"), NEW_NAME, EMAIL, ROLES],
            ..Verb::UPDATE
        },
        Verb { about: "Delete a user, and with it its sessions and keys", path: "users/{}", ..Verb::DELETE },
        Verb { path: "users/{}", ..BLOCK },
        Verb { path: "users/{}", ..UNBLOCK },
        Verb {
            name: "password",
            about: "Set a user's password, asked for or from stdin; its sessions end",
            method: "PUT",
            path: "users/{}/password",
            asks: Asks::NewPassword,
            ..Verb::POST
        },
        Verb { name: "unlock", about: "Let a user log in again at once after too many wrong passwords", path: "users/{}/unlock", ..Verb::POST },
        Verb { name: "sign-out", about: "End all sessions of a user", path: "users/{}/sign-out", ..Verb::POST },
    ],
};

const ROLE: Noun = Noun {
    name: "role",
    about: "Sets of permissions",
    value: "ROLE",
    given: "Its name or id",
    known_by: None,
    columns: &["id", "name", "builtin", "permissions"],
    verbs: &[
        Verb { about: "List roles: those that every tenant has, then one's own", path: "roles", pages: Some(Pages::One), ..Verb::LIST },
        Verb { about: "Show a role", path: "roles/{}", ..Verb::READ },
        Verb { about: "Make a role", path: "roles", flags: &[PERMISSIONS.required()], ..Verb::CREATE },
        Verb { about: "Change a role", path: "roles/{}", flags: &[NEW_NAME, PERMISSIONS], ..Verb::UPDATE },
        Verb { about: "Delete a role; whoever holds it loses what it permits", path: "roles/{}", ..Verb::DELETE },
    ],
};

pub(super) const ORG: Noun = Noun {
    name: "org",
    about: "Organisations, which keys serve",
    value: "ORG",
    given: "Its name or id",
    known_by: Some("name"),
    columns: &["id", "number", "name", "created_at"],
    verbs: &[
        Verb { about: "List organisations", path: "organizations", ..Verb::LIST },
        Verb { about: "Show an organisation", path: "organizations/{}", ..Verb::READ },
        Verb { about: "Make an organisation", path: "organizations", ..Verb::CREATE },
        Verb { about: "Rename an organisation", path: "organizations/{}", flags: &[NEW_NAME], ..Verb::UPDATE },
        Verb { about: "Delete an organisation", path: "organizations/{}", ..Verb::DELETE },
    ],
};

const APP: Noun = Noun {
    name: "app",
    about: "Applications: programs with a client id and a secret",
    value: "APP",
    given: "Its name or id",
    known_by: Some("name"),
    columns: &["id", "name", "roles", "blocked"],
    verbs: &[
        Verb { about: "List applications", path: "applications", ..Verb::LIST },
        Verb { about: "Show an application", path: "applications/{}", ..Verb::READ },
        Verb { about: "Make an application; its client secret is shown once", path: "applications", flags: &[ROLES, PERMISSIONS, APP_IDS], ..Verb::CREATE },
        Verb { about: "Change an application", path: "applications/{}", flags: &[NEW_NAME, ROLES, PERMISSIONS, APP_IDS], ..Verb::UPDATE },
        Verb { path: "applications/{}", ..BLOCK },
        Verb { path: "applications/{}", ..UNBLOCK },
        Verb { about: "Delete an application", path: "applications/{}", ..Verb::DELETE },
        ROTATE,
    ],
};

const KEY: Noun = Noun {
    name: "key",
    about: "API keys",
    value: "KEY",
    given: "Its id, or its name if no other key has it",
    known_by: Some("name"),
    columns: &["id", "name", "owner", "blocked", "expires_at"],
    verbs: &[
        Verb { about: "List API keys", path: "api-keys", ..Verb::LIST },
        Verb { about: "Show an API key", path: "api-keys/{}", ..Verb::READ },
        Verb {
            about: "Make an API key; its token is shown once",
            path: "api-keys",
            flags: &[
                Flag::of("owner", "owner", "USER", Sort::User, "The user as whom it acts, by login or id, or `me` [default: nobody]"),
                PERMISSIONS,
                EMAILS,
                ORGANIZATIONS,
                LABELS,
                DNS_NAME,
                APP_IDS,
                EXPIRES,
            ],
            ..Verb::CREATE
        },
        Verb {
            about: "Change an API key",
            path: "api-keys/{}",
            flags: &[NEW_NAME, PERMISSIONS, EMAILS, ORGANIZATIONS, LABELS, DNS_NAME, APP_IDS, EXPIRES],
            ..Verb::UPDATE
        },
        Verb { path: "api-keys/{}", ..BLOCK },
        Verb { path: "api-keys/{}", ..UNBLOCK },
        Verb { about: "Delete an API key; it opens nothing any more", path: "api-keys/{}", ..Verb::DELETE },
        ROTATE,
        Verb {
            name: "verify",
            about: "Say whether a presented key is valid and whose it is; the key is asked for or read from stdin",
            path: "keys/verify",
            takes: Takes::Nothing,
            flags: &[Flag::texts("permission", "permissions", "PERMISSION", "A permission that the key must have")],
            asks: Asks::Secret("key", "Key"),
            ..Verb::POST
        },
        Verb {
            name: "status",
            about: "Show the vault's own keys: versions, what lies under each, rotations under way",
            path: "keys",
            takes: Takes::Nothing,
            as_of: false,
            ..Verb::READ
        },
        Verb {
            name: "rotate-root",
            about: "Put another root key in place of the present one, whose file is kept as .old",
            path: "keys/rotate",
            takes: Takes::Nothing,
            fixed: Some(("root", true)),
            repeatable: false,
            ..Verb::POST
        },
        Verb {
            name: "rotate-tenant",
            about: "Wrap all keys of a tenant under a new key; `system` stands for the vault's own",
            path: "keys/rotate",
            takes: Takes::New("tenant", "TENANT"),
            repeatable: false,
            ..Verb::POST
        },
    ],
};

const SESSION: Noun = Noun {
    name: "session",
    about: "Sessions of users who logged in",
    value: "SESSION",
    given: "Its id, or `current`",
    known_by: None,
    columns: &["id", "expires_at", "last_used_at", "current"],
    verbs: &[
        Verb {
            about: "List sessions that have not ended",
            path: "sessions",
            flags: &[Flag::of("user", "user", "USER", Sort::User, "Whose, by login or id [default: your own]")],
            pages: Some(Pages::One),
            ..Verb::LIST
        },
        Verb { name: "end", about: "End a session", path: "sessions/{}", if_match: false, ..Verb::DELETE },
    ],
};

const CREDENTIAL: Noun = Noun {
    name: "credential",
    about: "Credentials of all kinds, and the rotation of secrets that this vault issued",
    value: "CREDENTIAL",
    given: "Its id, or its name if no other credential has it",
    known_by: Some("name"),
    columns: &["id", "kind", "name", "state", "expires_at"],
    verbs: &[
        Verb {
            about: "List credentials",
            path: "credentials",
            flags: &[
                Flag::of("kind", "kind", "KIND", Sort::OneOf(&KINDS), "Only of this kind"),
                Flag::text("app", "app", "APP", "Only connections of this application"),
                Flag::text("consumer", "consumer", "CONSUMER", "Only connections of this consumer"),
                Flag::of("show", "show", "WHICH", Sort::OneOf(&["live", "deleted", "all"]), "Which of them [default: live]"),
            ],
            ..Verb::LIST
        },
        Verb { about: "Show a credential, deleted ones by id", path: "credentials/{}", ..Verb::READ },
        ROTATE,
        Verb { name: "finish-rotation", about: "End a rotation's overlap: earlier secrets stop now", path: "credentials/{}/rotation/finish", ..Verb::POST },
        Verb {
            name: "take-back-rotation",
            about: "Make the latest earlier secret the present one again; the newer one stops now",
            path: "credentials/{}/rotation/take-back",
            ..Verb::POST
        },
    ],
};
const KINDS: [&str; 7] = ["connection", "api_key", "provider_key", "api_client", "user_application", "application", "integration"];

const INTEGRATION: Noun = Noun {
    name: "integration",
    about: "What the tenant supplies for all connections to a service, such as its OAuth client",
    value: "SERVICE",
    given: "API family and service, such as crm+pipedrive",
    known_by: None,
    columns: &["unified_api", "service_id", "name", "state", "enabled", "updated_at"],
    verbs: &[
        Verb {
            about: "List integrations",
            path: "integrations",
            flags: &[Flag::text("api", "unified_api", "API", "Only of this API family, such as crm")],
            ..Verb::LIST
        },
        Verb { about: "Show an integration; its secrets as masks", path: SERVICE, ..Verb::READ },
        Verb {
            name: "set",
            about: "Supply settings for all connections to a service; those not named stay",
            path: SERVICE,
            flags: &[
                Flag::of(
                    "setting",
                    "settings",
                    "ID[=VALUE]",
                    Sort::Settings,
                    "A form field of the service; without a value, that is asked for or a line of stdin",
                ),
                Flag::of("unset", "settings", "ID", Sort::Settings, "A setting to take away"),
            ],
            ..Verb::UPDATE
        },
        Verb { name: "enable", about: "Let connections to the service be authorized again", fixed: Some(("enabled", true)), path: SERVICE, ..Verb::UPDATE },
        Verb {
            name: "disable",
            about: "Let no connection to the service be authorized, exchanged or renewed",
            fixed: Some(("enabled", false)),
            path: SERVICE,
            ..Verb::UPDATE
        },
        Verb { about: "Delete an integration; connections keep what is their own", path: SERVICE, ..Verb::DELETE },
    ],
};
const SERVICE: &str = "integrations/{}/{}";

const TOKEN: Noun = Noun {
    name: "token",
    about: "Tokens that somebody presents: access tokens, sessions, keys",
    value: "",
    given: "",
    known_by: None,
    columns: &["active", "token_type", "username", "sub"],
    verbs: &[
        Verb {
            name: "introspect",
            about: "Say what a token is; it is asked for or read from stdin",
            path: "oauth/introspect",
            takes: Takes::Nothing,
            asks: Asks::Secret("token", "Token"),
            form: true,
            ..Verb::POST
        },
        Verb {
            name: "revoke",
            about: "Make an access token or a session open nothing any more; it is asked for or read from stdin",
            path: "oauth/revoke",
            takes: Takes::Nothing,
            asks: Asks::Secret("token", "Token"),
            form: true,
            ..Verb::POST
        },
    ],
};

const WEBHOOK: Noun = Noun {
    name: "webhook",
    about: "Endpoints that are told what becomes of connections",
    value: "WEBHOOK",
    given: "Its id, or its URL if no other webhook has it",
    known_by: Some("url"),
    columns: &["id", "url", "events", "enabled"],
    verbs: &[
        Verb { about: "List webhooks", path: "webhooks", ..Verb::LIST },
        Verb { about: "Show a webhook, and how far it has been told", path: "webhooks/{}", ..Verb::READ },
        Verb {
            about: "Make a webhook; its signing secret is shown once",
            path: "webhooks",
            takes: Takes::New("url", "URL"),
            flags: &[EVENTS, DESCRIPTION],
            ..Verb::CREATE
        },
        Verb {
            about: "Change a webhook",
            path: "webhooks/{}",
            flags: &[Flag::text("url", "url", "URL", "Another URL"), EVENTS, DESCRIPTION.clears()],
            ..Verb::UPDATE
        },
        Verb { name: "disable", about: "Tell it nothing for now", path: "webhooks/{}", fixed: Some(("enabled", false)), ..Verb::UPDATE },
        Verb { name: "enable", about: "Tell it again, from where it stood", path: "webhooks/{}", fixed: Some(("enabled", true)), ..Verb::UPDATE },
        Verb { about: "Delete a webhook", path: "webhooks/{}", ..Verb::DELETE },
        Verb {
            name: "rotate",
            about: "Sign with a new secret, shown once",
            path: "webhooks/{}/rotate",
            flags: &[Flag::of("grace-seconds", "grace_seconds", "SECONDS", Sort::Number, "How long the former secret signs along [default: 86400]")],
            if_match: true,
            ..Verb::POST
        },
        Verb {
            name: "dead-letters",
            about: "List what a webhook was not told",
            path: "webhooks/{}/dead-letters",
            takes: Takes::Thing,
            columns: &["position", "event_type", "tries"],
            ..Verb::LIST
        },
        Verb {
            name: "replay",
            about: "Send again: all dead letters, those of some events, or everything from one event on",
            path: "webhooks/{}/replay",
            flags: &[
                Flag::of("position", "positions", "POSITION", Sort::Numbers, "Only dead letters that tell of this event"),
                Flag::of("from", "from", "POSITION", Sort::Number, "Everything from this event on"),
            ],
            ..Verb::POST
        },
        Verb { name: "test", about: "Send a ping now and say what came of it", path: "webhooks/{}/test", repeatable: false, ..Verb::POST },
    ],
};
const EVENTS: Flag = Flag { clears: false, ..Flag::texts("event", "events", "EVENT", "An event, such as vault.connection.callable, or * [default: *]") };
const DESCRIPTION: Flag = Flag::text("description", "description", "TEXT", "Free text");

const TENANT: Noun = Noun {
    name: "tenant",
    about: "Tenants, for operators of the vault",
    value: "TENANT",
    given: "Its name",
    known_by: None,
    columns: &["id", "name", "suspended_at", "created_at"],
    verbs: &[
        Verb { about: "List tenants", path: "tenants", pages: Some(Pages::One), ..Verb::LIST },
        Verb { about: "Show a tenant", path: "tenants/{}", ..Verb::READ },
        Verb { about: "Make a tenant; its owner's token is shown once", path: "tenants", repeatable: false, ..Verb::CREATE },
        Verb { name: "suspend", about: "Refuse all principals of a tenant", path: "tenants/{}/suspend", ..Verb::POST },
        Verb { name: "resume", about: "Let the principals of a tenant in again", path: "tenants/{}/resume", ..Verb::POST },
    ],
};
