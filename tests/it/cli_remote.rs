//! The verbs that ask a server, run as a user runs them: each once, for people and for programs.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use keyledger::cli::Cli;
use serde_json::{Value, json};

use crate::served::{Server, client, start, start_with};

/// What a terminal shows without breaking a line.
const WIDTH: usize = 100;
/// Verbs that need no server.
const LOCAL: [&str; 8] = ["serve", "init", "replay", "restore", "backup", "doctor", "openapi", "completions"];
pub const PASSWORD: &str = "canary: a long password";

/// Somebody with a server, and the verbs that they used.
#[derive(Default)]
pub struct Person {
    pub server: String,
    pub token: String,
    pub used: BTreeSet<Vec<String>>,
}

pub fn owner(server: &Server) -> Person {
    Person { server: server.base.clone(), token: server.token.clone(), used: BTreeSet::new() }
}

/// Nouns and verbs of the command line.
fn verbs() -> Vec<(Vec<String>, clap::Command)> {
    let of = |command: &clap::Command| command.get_name().to_owned();
    let mut found = Vec::new();
    for noun in Cli::command().get_subcommands().filter(|noun| !LOCAL.contains(&noun.get_name())) {
        found.extend(noun.get_subcommands().map(|verb| (vec![of(noun), of(verb)], verb.clone())));
        if !noun.has_subcommands() {
            found.push((vec![of(noun)], noun.clone()));
        }
    }
    found
}

impl Person {
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyledger"));
        command.env_clear().env("KEYLEDGER_SERVER", &self.server).env("KEYLEDGER_TOKEN", &self.token);
        // Nothing goes through a proxy of the environment: nobody listens there.
        command.env("http_proxy", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1").env("ALL_PROXY", "http://127.0.0.1:1");
        command
    }

    pub fn run(&mut self, arguments: &[&str], stdin: &str) -> Output {
        let all = verbs().into_iter().map(|(names, _)| names);
        self.used.extend(all.filter(|names| arguments.iter().take(names.len()).eq(names.iter())));
        feed(self.command().args(arguments), stdin)
    }

    /// What is printed for people, and what is said beside it.
    pub fn table(&mut self, arguments: &[&str], stdin: &str) -> (String, String) {
        let output = self.run(arguments, stdin);
        let (shown, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        let wide = |line: &&str| line.chars().count() > WIDTH && !line.contains("kl");
        assert_eq!(shown.lines().find(wide), None, "{arguments:?}");
        assert!(!shown.contains('{') && !shown.contains("null"), "{shown}");
        (shown, said)
    }

    /// What is printed for programs.
    pub fn json(&mut self, arguments: &[&str], stdin: &str) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat(), stdin);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The token of a new session.
    pub fn log_in(&mut self, login: &str, password: &str) -> String {
        self.json(&["login", login], password)["token"].as_str().unwrap().to_owned()
    }

    /// Of a verb that leaves nothing to show.
    fn done(&mut self, arguments: &[&str], stdin: &str) {
        let (shown, said) = self.table(arguments, stdin);
        assert_eq!((shown.as_str(), said.as_str()), ("", "done\n"), "{arguments:?}");
    }
}

pub fn feed(command: &mut Command, stdin: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A verb that reads nothing may have ended already.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    child.wait_with_output().unwrap()
}

/// The value that stands behind a name in what is printed for people.
fn value<'a>(shown: &'a str, name: &str) -> &'a str {
    shown.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap().trim()
}

fn users_roles_and_sessions(me: &mut Person) {
    let ann = me.table(&["user", "create", "Ann", "--name", "Ann B", "--email", "ann@example.com", "--role", "reader", "--role", "app"], "").0;
    assert_eq!((value(&ann, "login"), value(&ann, "name"), value(&ann, "roles"), value(&ann, "blocked")), ("ann", "Ann B", "reader, app", "no"));
    let made = me.json(&["user", "get", "ANN"], "");
    assert_eq!(made, me.json(&["user", "get", made["id"].as_str().unwrap()], ""), "by login, in any letter case, or by id");
    let version = made["content_version"].to_string();
    let changed = me.json(&["user", "update", "ann", "--clear", "email", "--role", "operator", "--if-match", &version], "");
    assert_eq!((&changed["email"], &changed["roles"], &changed["name"]), (&Value::Null, &json!(["operator"]), &json!("Ann B")));
    assert_eq!(me.json(&["user", "block", "ann"], "")["blocked"], true);
    assert_eq!(me.json(&["user", "unblock", "ann"], "")["blocked"], false);
    me.done(&["user", "password", "ann"], &format!("{PASSWORD}\n"));
    me.done(&["user", "unlock", "ann"], "");
    me.json(&["user", "create", "bob", "--with-password"], &format!("{PASSWORD}\r\n"));
    let list = me.table(&["user", "list"], "").0;
    assert_eq!(list.lines().count(), 4, "a line each, and the titles");
    assert!(list.lines().next().unwrap().starts_with("ID ") && list.contains("Ann B"));
    assert_eq!(me.json(&["user", "list"], "").as_array().unwrap().len(), 3);
    assert_eq!(me.json(&["user", "list", "--limit", "2"], "")[1], me.json(&["user", "get", "ann"], ""));

    let role = me.json(&["role", "create", "on call", "--permission", "users:read", "--permission", "roles:read"], "");
    assert_eq!(role["permissions"], json!(["users:read", "roles:read"]));
    assert_eq!(me.json(&["role", "update", "on call", "--permission", "users:read"], "")["permissions"], json!(["users:read"]));
    assert_eq!(value(&me.table(&["role", "get", "on call"], "").0, "permissions"), "users:read");
    assert_eq!(me.json(&["role", "list", "--limit", "1"], "").as_array().unwrap().len(), 1);
    assert_eq!(me.table(&["role", "list"], "").0.lines().count(), 8);
    me.done(&["role", "delete", "on call"], "");

    let (token, said) = me.table(&["login", "ann", "--seconds", "600"], &format!("{PASSWORD}\n"));
    assert!(token.starts_with("klses_") && token.lines().count() == 1, "nothing else, so that a shell can take it");
    assert!(said.contains("this once"));
    let other = me.json(&["login", "ann", "--tenant", "default"], PASSWORD)["token"].as_str().unwrap().to_owned();
    let sessions = me.json(&["session", "list", "--user", "ann"], "");
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    assert_eq!(me.table(&["session", "list", "--user", "ann"], "").0.lines().count(), 3);
    let mut ann = Person { server: me.server.clone(), token: token.trim().to_owned(), used: BTreeSet::new() };
    assert_eq!(ann.json(&["whoami"], "")["rules"], json!(["role:operator"]));
    assert_eq!(value(&ann.table(&["whoami"], "").0, "kind"), "session");
    let current = ann.json(&["session", "list"], "").as_array().unwrap().iter().find(|session| session["current"] == true).unwrap()["id"].clone();
    ann.done(&["logout"], "");
    assert!(sessions.as_array().unwrap().iter().any(|session| session["id"] == current));
    let left = me.json(&["session", "list", "--user", "ann"], "");
    assert_eq!(left.as_array().unwrap().len(), 1);
    me.done(&["session", "end", left[0]["id"].as_str().unwrap()], "");
    ann.token = other;
    assert_eq!(ann.run(&["whoami"], "").status.code(), Some(1), "it has ended");
    ann.token = me.log_in("ann", PASSWORD);
    // One's own password needs the present one, and ends the session.
    assert_eq!(ann.run(&["user", "password", "me"], "not this one at all\nthe next password\n").status.code(), Some(1));
    ann.done(&["user", "password", "ann"], &format!("{PASSWORD}\nthe next password\n"));
    assert_eq!(ann.run(&["whoami"], "").status.code(), Some(1));
    ann.token = me.log_in("ann", "the next password");
    me.done(&["user", "sign-out", "ann"], "");
    assert_eq!(ann.run(&["whoami"], "").status.code(), Some(1));
    me.done(&["user", "delete", "bob"], "");
    me.used.extend(ann.used);
}

fn keys_and_what_they_serve(me: &mut Person) {
    let org = me.json(&["org", "create", "Acme & Co"], "");
    assert_eq!(me.table(&["org", "update", "Acme & Co", "--name", "Acme"], "").0, me.table(&["org", "get", "Acme"], "").0);
    assert!(me.table(&["org", "list"], "").0.contains("Acme"));
    let create = ["key", "create", "reporting", "--owner", "ann", "--organization", "Acme", "--label", "a", "--label", "b", "--permission", "custom:r"];
    let further = ["--email", "a@example.com", "--dns-name", "sftp", "--app-id", "demo", "--expires-at", "2100-01-01T00:00:00Z"];
    let made = me.json(&[&create[..], &further].concat(), "");
    let (key, token) = (&made["api_key"], made["token"].as_str().unwrap());
    assert_eq!((&key["organizations"], &key["labels"], &key["permissions"]), (&json!([org["id"]]), &json!(["a", "b"]), &json!(["custom:r"])));
    assert_eq!((&key["dns_name"], &key["app_ids"], &key["expires_at"]), (&json!("sftp"), &json!(["demo"]), &json!("2100-01-01T00:00:00.000Z")));
    assert_eq!(key["owner"], me.json(&["user", "get", "ann"], "")["id"]);
    let verified = me.json(&["key", "verify", "--permission", "custom:r"], &format!("{token}\n"));
    assert_eq!((&verified["valid"], &verified["key"]["id"]), (&json!(true), &key["id"]));
    assert_eq!(value(&me.table(&["key", "verify"], "klkey_nothing").0, "code"), "not_found");
    let cleared = ["label", "expires-at", "dns-name"].map(|flag| ["--clear", flag]).concat();
    let changed = me.json(&[&["key", "update", "reporting", "--app-id", "other"], &cleared[..]].concat(), "");
    assert_eq!((&changed["labels"], &changed["expires_at"], &changed["dns_name"]), (&json!([]), &Value::Null, &Value::Null));
    me.table(&["key", "block", "reporting"], "");
    assert_eq!(me.json(&["key", "verify"], token)["code"], "blocked");
    me.table(&["key", "unblock", "reporting"], "");
    assert!(me.table(&["key", "list"], "").0.contains("reporting"));
    let (shown, said) = me.table(&["key", "rotate", "reporting", "--grace-seconds", "600"], "");
    let next = value(&shown, "secret");
    assert!(next.starts_with("klkey_") && said == "The secret is shown this once: keep it now.\n");
    assert!([token, next].iter().all(|token| me.json(&["key", "verify"], token)["valid"] == true));
    assert_eq!(me.json(&["key", "get", "reporting"], "")["issued"].as_array().unwrap().len(), 2);

    let found = me.table(&["credential", "list", "--kind", "api_key", "--show", "live"], "").0;
    assert!(found.contains("reporting"));
    me.json(&["credential", "take-back-rotation", "reporting"], "");
    assert!(me.json(&["key", "verify"], token)["valid"] == true && me.json(&["key", "verify"], next)["valid"] == false);
    let third = me.json(&["credential", "rotate", "reporting", "--grace-seconds", "600"], "")["secret"].as_str().unwrap().to_owned();
    let at = me.json(&["credential", "finish-rotation", "reporting"], "")["last_position"].to_string();
    assert!(me.json(&["key", "verify"], token)["valid"] == false && me.json(&["key", "verify"], &third)["valid"] == true);
    me.done(&["key", "delete", "reporting"], "");
    assert_eq!(me.json(&["key", "verify"], &third)["valid"], false);
    let past = me.json(&["key", "get", "reporting", "--as-of", &at], "");
    assert_eq!(past["id"], key["id"], "as it was, found by the name that it had");
    assert_eq!(value(&me.table(&["credential", "get", key["id"].as_str().unwrap()], "").0, "state"), "deleted");
    me.done(&["org", "delete", "Acme"], "");
}

fn integrations(me: &mut Person) {
    let set = ["integration", "set", "crm+pipedrive"];
    // The secret is read from stdin, and never taken from the command line.
    let wrong = me.run(&[&set[..], &["--setting", "client_secret=canary"]].concat(), "");
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(1) && said.contains("client_secret is a secret") && !said.contains("canary"), "{said}");
    let made = me.json(&[&set[..], &["--setting", "client_id=an=id", "--setting", "client_secret"]].concat(), "a secret\n");
    assert_eq!((&made["settings"]["client_id"], &made["settings"]["client_secret"]), (&json!("an=id"), &json!("••••••••••••")));
    assert_eq!(value(&me.table(&["integration", "get", "crm+pipedrive"], "").0, "state"), "configured");
    assert_eq!(me.json(&["integration", "disable", "crm+pipedrive"], "")["state"], "disabled");
    assert_eq!(me.json(&["integration", "enable", "crm+pipedrive", "--if-match", "2"], "")["state"], "configured");
    let less = me.json(&[&set[..], &["--unset", "client_secret", "--if-match", "3"]].concat(), "");
    assert_eq!((&less["settings"], &less["state"]), (&json!({"client_id": "an=id"}), &json!("needs_configuration")));
    assert!(me.table(&["integration", "list", "--api", "crm"], "").0.contains("pipedrive"));
    assert_eq!(me.json(&["integration", "list", "--api", "hris"], ""), json!([]));
    let nowhere = me.run(&["integration", "get", "pipedrive"], "");
    assert!(String::from_utf8(nowhere.stderr).unwrap().contains("such as crm+pipedrive"));
    me.done(&["integration", "delete", "crm+pipedrive"], "");
}

fn applications_and_their_tokens(me: &mut Person) {
    let (shown, said) = me.table(&["app", "create", "billing", "--role", "app"], "");
    assert_eq!(said, "The client secret is shown this once: keep it now.\n");
    let secret = value(&shown, "client secret").to_owned();
    let id = me.json(&["app", "get", "billing"], "")["client_id"].as_str().unwrap().to_owned();
    let token = |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let request = client().post(format!("{}/v1/oauth/token", me.server)).header("content-type", "application/x-www-form-urlencoded").body(form);
        request.send().unwrap().json::<Value>().unwrap()["access_token"].as_str().map(str::to_owned)
    };
    let access = token(&secret).unwrap();
    let mut me = Person { server: me.server.clone(), token: me.token.clone(), used: std::mem::take(&mut me.used) };
    assert_eq!(me.json(&["token", "introspect"], &access)["client_id"], json!(id));
    let output = me.run(&["token", "revoke"], &access);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert_eq!(value(&me.table(&["token", "introspect"], &access).0, "active"), "no");
    assert_eq!(me.json(&["app", "update", "billing", "--permission", "users:read", "--clear", "role"], "")["permissions"], json!(["users:read"]));
    me.table(&["app", "block", "billing"], "");
    assert_eq!(token(&secret), None);
    me.table(&["app", "unblock", "billing"], "");
    me.json(&["app", "rotate", "billing"], "");
    assert_eq!(token(&secret), None, "the earlier secret ended at once");
    assert!(me.table(&["app", "list"], "").0.contains("billing"));
    me.done(&["app", "delete", "billing"], "");

    let begun = me.json(&["tenant", "create", "acme"], "");
    let mut theirs = Person { server: me.server.clone(), token: begun["owner_token"].as_str().unwrap().to_owned(), used: BTreeSet::new() };
    assert_eq!(theirs.json(&["whoami"], "")["tenant"], begun["tenant"]["id"]);
    me.done(&["resume"], "");
    me.table(&["tenant", "suspend", "acme"], "");
    assert_eq!(theirs.run(&["whoami"], "").status.code(), Some(1));
    assert!(me.json(&["tenant", "get", "acme"], "")["suspended_at"].is_string());
    me.table(&["tenant", "resume", "acme"], "");
    assert_eq!(me.table(&["tenant", "list"], "").0.lines().count(), 3);
    webhooks(&mut me);
    back_in_time(&mut me);
    for verb in [&["key", "status"][..], &["key", "rotate-tenant", "default"], &["key", "rotate-root"], &["key", "status"]] {
        me.json(verb, "");
    }
    audit(&mut me);
    crate::cli_remote_keys::keys(&mut me);
    let all: BTreeSet<Vec<String>> = verbs().into_iter().map(|(names, _)| names).collect();
    assert_eq!(me.used, all, "each verb was used");
}

fn back_in_time(me: &mut Person) {
    let role = me.json(&["role", "create", "night", "--permission", "users:read"], "")["id"].as_str().unwrap().to_owned();
    me.json(&["role", "update", "night", "--name", "day"], "");
    let told = me.json(&["history", &role], "");
    assert_eq!((&told[0]["type"], &told[0]["changes"][0]["field"], &told[0]["changes"][0]["to"]), (&json!("updated"), &json!("name"), &json!("day")));
    assert!(me.table(&["history", &role], "").0.contains("updated"));
    let event = told[0]["position"].to_string();
    let (plan, _) = me.table(&["undo", &event, "--dry-run"], "");
    assert!(plan.contains("name: day -> night") && plan.ends_with("1 to put back, 0 to delete, 0 to leave\n"), "{plan}");
    let unasked = me.run(&["undo", &event], "");
    assert!(unasked.status.code() == Some(1) && String::from_utf8_lossy(&unasked.stderr).contains("--yes"), "nobody can be asked");
    assert_eq!(me.json(&["role", "get", "day"], "")["id"], json!(role));
    let (done, _) = me.table(&["undo", &event, "--yes", "--reason", "a test"], "");
    assert!(done.starts_with("undone: 1 things"), "{done}");
    assert_eq!(me.json(&["role", "get", "night"], "")["id"], json!(role));
    let twice = me.run(&["undo", &event, "--yes"], "");
    assert!(twice.status.code() == Some(1) && String::from_utf8_lossy(&twice.stderr).contains("nothing to undo"));
    me.done(&["role", "delete", "night"], "");
    let recover = ["recover", "--to", &event, "--id", &role];
    let (plan, _) = me.table(&[&recover[..], &["--dry-run"]].concat(), "");
    assert!(plan.contains(&format!("revert  role {role}")), "{plan}");
    assert_eq!(me.json(&[&recover[..], &["--apply"]].concat(), "")["reverted"], 1);
    assert_eq!(me.json(&["role", "get", "day"], "")["id"], json!(role), "as it stood at that position");
    assert_eq!(me.json(&["recoveries"], "").as_array().unwrap().len(), 1);
    assert_eq!(me.json(&["diff", "--from", &event, "--id", &role], ""), json!([]));
    assert!(me.table(&["diff", "--from", &(event.parse::<u64>().unwrap() - 1).to_string(), "--kind", "role"], "").0.contains("changed"));
}

fn audit(me: &mut Person) {
    let key = me.json(&["credential", "list", "--kind", "api_key", "--show", "all"], "")[0]["id"].as_str().unwrap().to_owned();
    let exposed = me.json(&["exposure", &key, "--version", "1", "--name", "token"], "");
    assert_eq!((&exposed["kind"], &exposed["did"][0]["how"]), (&json!("api_key"), &json!("brought")));
    let shown = me.run(&["exposure", &key], "");
    assert!(shown.status.success() && String::from_utf8(shown.stdout).unwrap().contains("not recorded"));
    let (shown, _) = me.table(&["audit", "query", "--kind", "webhook", "--kind", "tenant", "--action", "deleted", "--limit", "5"], "");
    assert!(shown.starts_with("POSITION  RECORDED AT") && shown.lines().count() == 2 && shown.contains("allowed"), "{shown}");
    let by_ann = me.json(&["audit", "query", "--actor", "ann", "--decision", "allowed"], "");
    let kinds: BTreeSet<&str> = by_ann.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["attempts", "session", "user"]), "what ann did, and that her name may try again");
    assert_eq!(me.json(&["audit", "query", "--rule", "no such rule", "--ip", "192.0.2.1", "--from", "2020-01-01T00:00:00Z", "--to", "9"], ""), json!([]));
    let first = me.json(&["audit", "query", "--order", "asc", "--limit", "1"], "")[0].clone();
    assert_eq!(me.json(&["audit", "tail", "--from", "1", "--limit", "1"], ""), first);
    assert_eq!(me.table(&["audit", "tail", "--from", "1", "--limit", "3"], "").0.lines().count(), 3);
    let output = me.run(&["audit", "export", "--thing", first["stream"].as_str().unwrap()], "");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((output.status.code(), &lines[0]["hash"], &lines.last().unwrap()["end"]["events"]), (Some(0), &first["leaf"], &json!(1)));
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("log-key");
    assert!(me.run(&["audit", "verify", "--pin", pin.to_str().unwrap()], "").status.success());
}

fn webhooks(me: &mut Person) {
    let url = "http://127.0.0.1:1/hook";
    let (shown, said) = me.table(&["webhook", "create", url, "--event", "vault.connection.created", "--event", "vault.connection.callable"], "");
    assert_eq!(said, "The secret is shown this once: keep it now.\n");
    let secret = value(&shown, "secret").to_owned();
    assert!(secret.starts_with("whsec_"));
    let made = me.json(&["webhook", "get", url], "");
    assert_eq!((&made["events"], &made["enabled"]), (&json!(["vault.connection.created", "vault.connection.callable"]), &json!(true)));
    let version = made["content_version"].to_string();
    let changed = me.json(&["webhook", "update", url, "--event", "*", "--description", "billing", "--if-match", &version], "");
    assert_eq!((&changed["events"], &changed["description"]), (&json!(["*"]), &json!("billing")));
    assert_eq!(me.json(&["webhook", "update", url, "--clear", "description"], "")["description"], Value::Null);
    assert_eq!(me.json(&["webhook", "disable", url], "")["enabled"], false);
    assert_eq!(me.json(&["webhook", "enable", url], "")["enabled"], true);
    let rotated = me.json(&["webhook", "rotate", url, "--grace-seconds", "60"], "");
    assert!(rotated["secret"].as_str().unwrap() != secret && rotated["webhook"]["grace_until"].is_string());
    let tried = me.json(&["webhook", "test", url], "");
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(false), &Value::Null), "nobody listens there");
    assert_eq!(me.table(&["webhook", "dead-letters", url], "").0, "POSITION  EVENT TYPE  TRIES\n");
    me.json(&["webhook", "replay", url], "");
    assert_eq!(me.run(&["webhook", "replay", url, "--position", "7", "--position", "8"], "").status.code(), Some(1), "there are no dead letters");
    let since = tried["position"].to_string();
    assert_eq!(me.json(&["webhook", "replay", url, "--from", &since], "")["id"], made["id"]);
    assert!(me.table(&["webhook", "list"], "").0.contains(url));
    me.done(&["webhook", "delete", url], "");
}

#[test]
fn every_verb_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), "", &["--allow-egress", "127.0.0.1/32"]);
    let mut me = owner(&server);
    users_roles_and_sessions(&mut me);
    keys_and_what_they_serve(&mut me);
    integrations(&mut me);
    applications_and_their_tokens(&mut me);
}

#[test]
fn no_flag_takes_a_secret_and_help_shows_none() {
    assert!(verbs().len() > 40);
    for (names, verb) in verbs() {
        for flag in verb.get_arguments().filter(|flag| flag.get_action().takes_values()) {
            let name = flag.get_long().unwrap_or_else(|| flag.get_id().as_str());
            let secret = ["password", "secret", "token", "key"].iter().any(|word| name.contains(word)) && name != "token-file";
            // The log's own one is public.
            let secret = secret && (name != "key" || !names.contains(&"verify".to_owned()));
            assert!(!secret, "{names:?} takes {name}");
        }
        let person = Person { server: "http://127.0.0.1:1".into(), token: "canary".into(), used: BTreeSet::new() };
        let help = person.command().args(&names).arg("--help").output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(help.status.success() && text.contains("--server") && text.contains("--output"), "{names:?}");
        assert!(!text.contains("canary"), "{names:?}");
        assert!(!text.contains("--password") && !text.contains("--token "), "{names:?}");
    }
}

#[test]
fn a_list_is_all_of_its_pages() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let http = client();
    for number in 0..201 {
        let request = http.post(format!("{}/v1/organizations", server.base)).bearer_auth(&server.token).json(&json!({"name": format!("Org {number}")}));
        assert_eq!(request.send().unwrap().status(), 201);
    }
    let mut me = owner(&server);
    let names = |list: &Value| list.as_array().unwrap().iter().map(|org| org["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = names(&me.json(&["org", "list"], ""));
    assert_eq!(all, (0..201).map(|number| format!("Org {number}")).collect::<Vec<_>>());
    assert_eq!(names(&me.json(&["org", "list", "--limit", "3"], "")), all[..3]);
    assert_eq!(me.json(&["org", "get", "Org 200"], "")["name"], "Org 200", "a name is looked for on every page");
}

#[test]
fn completions_are_made_for_three_shells() {
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef keyledger"), ("fish", "complete -c keyledger")] {
        let output = Command::new(env!("CARGO_BIN_EXE_keyledger")).env_clear().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(word) && script.contains("take-back-rotation"), "{shell}");
    }
}
