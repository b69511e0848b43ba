//! Every command of every kind in one vault: what is live is what a replay gives, at each position and after each sort of restart; the past is
//! seen as it was, without a secret, and a restore brings it back as it worked.

use std::collections::{BTreeMap, BTreeSet};

use keyledger::credentials::Meta;
use keyledger::credentials::vault::SecretAt;
use keyledger::kernel::Position;
use keyledger::seal::merkle::Frontier;
use keyledger::server::Until;
use keyledger::views::{Opener, Views, catch_up};
use serde_json::{Value, json};

use crate::all_kinds_life::{Answer, CLIENTS, Life, OWN_APPLICATIONS, Things, hash, serve_home, text};
use crate::all_kinds_steps::{end, live};

/// What no command leads to: what takes 48 hours, what only a restore, a backup, a rotation of the vault's keys, the end of a tenant or damage to the files writes; and the others would need access or refresh tokens that the kind does not have.
const ELSEWHERE: [(&str, &str); 16] = [
    ("connection", "dropped"),
    ("vault", "restored"),
    ("vault", "resumed"),
    ("vault", "repaired"),
    ("vault", "backup_verified"),
    ("vault", "root_rotated"),
    ("vault", "tenant_key_rotated"),
    ("vault", "loss_accepted"),
    ("tenant", "shred_requested"),
    ("tenant", "shred_approved"),
    ("tenant", "shred_cancelled"),
    ("tenant", "shredded"),
    ("api_key", "token_revoked"),
    ("api_key", "tokens_revoked"),
    ("application", "tokens_revoked"),
    ("user_application", "tokens_revoked"),
];
/// Reads that are of the present only, and why.
const PRESENT_ONLY: [(&str, &str); 10] = [
    ("/proxy", "it passes a call on"),
    ("/v1/events/stream", "it tells what comes"),
    ("/v1/health/live", "it tells of the process"),
    ("/v1/health/ready", "it tells of the process"),
    ("/v1/keys", "keys are as they are now"),
    ("/v1/me", "it tells what the token that is presented now proves"),
    ("/v1/proxy", "it passes a call on"),
    ("/vault/authorize/{service_id}/{application_id}", "it sends a user to a service"),
    ("/vault/callback", "a user comes back from a service"),
    ("/vault/revoke/{service_id}/{application_id}", "it revokes"),
];
/// Points in time that no read takes.
const NO_POINT: [&str; 9] =
    ["yesterday", "-1", "1e3", "2026-05-04", "99999999", "99999999999999999999999", "9000-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "0"];

/// Which types of events each kind has, as the fixtures know them.
fn all_types() -> BTreeSet<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let mut types = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let mut parts = name.trim_end_matches(".json").split('.');
        types.insert((parts.next().unwrap().to_owned(), parts.next().unwrap_or_default().to_owned()));
    }
    types
}

/// A read of the document, with the permission that lets it see the past.
struct Read {
    template: String,
    /// Of things of the first and of the second life; the same for a list.
    paths: [Vec<String>; 2],
}

/// The paths of a template, for the things of a life.
fn paths(template: &str, things: &Things) -> Vec<String> {
    let named = template.replace("{unified_api}/{service_id}", if template.starts_with("/v1/") { "hris/personio" } else { "crm/pipedrive" });
    let named = named.replace("{resource}", "leads");
    let Some((start, end)) = named.find('{').zip(named.find('}')) else {
        return vec![match template {
            "/v1/sessions" => format!("{template}?user={}", things.user),
            "/v1/diff" => format!("{template}?from=150&limit=200"),
            "/v1/log/proofs/consistency" => format!("{template}?from=1"),
            "/v1/log/proofs/inclusion" => format!("{template}?leaf=0"),
            _ => named,
        }];
    };
    let put = |value: &str| format!("{}{value}{}", &named[..start], &named[end + 1..]);
    if template.starts_with("/v1/connections/") {
        return vec![put(&things.connection)];
    }
    if template.starts_with("/v1/history/") {
        return things.credentials.iter().map(|id| put(id)).collect();
    }
    if template.starts_with("/v1/credentials/") {
        return things.credentials.iter().map(|id| put(id)).collect();
    }
    let prefix = things.by_prefix.keys().filter(|prefix| template.starts_with(&format!("{prefix}/"))).max_by_key(|prefix| prefix.len());
    vec![put(&things.by_prefix[prefix.unwrap_or_else(|| panic!("{template}: no thing is known for it"))])]
}

fn reads(first: &Things, second: Option<&Things>) -> Vec<Read> {
    let document: Value = serde_json::from_str(include_str!("../../schema/openapi.json")).unwrap();
    let mut present_only = Vec::new();
    let mut found = Vec::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        let Some(get) = methods.get("get") else { continue };
        if get["parameters"].as_array().is_none_or(|all| all.iter().all(|one| one["name"] != "as_of")) {
            present_only.push(template.clone());
            continue;
        }
        found.push(Read { template: template.clone(), paths: [paths(template, first), second.map(|second| paths(template, second)).unwrap_or_default()] });
    }
    assert_eq!(present_only, PRESENT_ONLY.map(|(path, _)| path), "every other GET shows the past");
    found
}

fn as_of(path: &str, at: Position) -> String {
    format!("{path}{}as_of={at}", if path.contains('?') { "&" } else { "?" })
}

/// All reads of the first life's things, as of a position.
async fn all_as_of(life: &Life, on: &crate::all_kinds_life::Running, first: &Things, at: Position) -> BTreeMap<String, Answer> {
    let mut answers = BTreeMap::new();
    for read in reads(first, None) {
        for path in &read.paths[0] {
            let answer = life.read(on, &life.token, &as_of(path, at)).await;
            answers.insert(path.clone(), answer);
        }
    }
    answers
}

/// Without what is told of uses and tries, which are written late, and of the secrets of API clients, which no past shows.
fn without_uses(text: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(members) => {
                for name in ["use_count", "last_used_at", "lastUseTimestamp", "lastLogin", "secret", "oauth_client_secret"] {
                    members.remove(name);
                }
                members.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    // An export is a value a line, a checkpoint is text.
    let lines = || text.lines().map(serde_json::from_str::<Value>).collect::<Result<Value, _>>();
    let mut value = serde_json::from_str(text).or_else(|_| lines()).unwrap_or_else(|_| text.into());
    strip(&mut value);
    value
}

/// A point in time that there is not is refused by every read, in its surface's own words, which say what is wrong.
async fn no_point_is_refused(life: &Life, first: &Things) {
    let running = life.running.as_ref().unwrap();
    for read in reads(first, None) {
        let path = &read.paths[0][0];
        let join = if path.contains('?') { '&' } else { '?' };
        for point in NO_POINT {
            let (status, _, _, body) = life.read(running, &life.token, &format!("{path}{join}as_of={point}")).await;
            assert!(status == 400 && body.contains("as_of"), "{path} as of {point}: {status} {body}");
        }
        let (status, _, _, body) = life.read(running, &life.token, &format!("{path}{join}min_position=x")).await;
        assert!(status == 400 && body.contains("min_position"), "{path}: {status} {body}");
        let head = life.vault().views().position();
        let (status, position, ..) = life.read(running, &life.token, &format!("{path}{join}as_of={head}&min_position={head}")).await;
        assert_eq!((status, position), (200, Some(head.to_string())), "{path}");
    }
}

/// The log folded in one go passes through what was live after each request, and each group between two of them is seen by a look back too.
async fn live_is_replay(life: &mut Life) {
    let reading = life.home("data").read().unwrap();
    let opener = Opener::new(reading.keyring.clone());
    let (mut folded, mut tree) = (Views::default(), Frontier::default());
    let vault = life.vault();
    let (mut at, mut ends) = (Position::ZERO, BTreeSet::new());
    loop {
        let records = reading.log.read(at, 512).await.unwrap();
        let Some(last) = records.last() else { break };
        at = last.header().position;
        ends.extend(records.iter().filter(|record| record.header().group.index + 1 == record.header().group.count).map(|record| record.header().position));
    }
    let noted: BTreeMap<Position, &std::sync::Arc<Views>> = life.noted.iter().map(|views| (views.position(), views)).collect();
    assert!(noted.len() > 150 && noted.keys().all(|position| ends.contains(position)), "{} of {} groups", noted.len(), ends.len());
    let begun = *noted.keys().next().unwrap();
    for end in ends.into_iter().filter(|end| *end >= begun) {
        catch_up(&mut folded, &mut tree, &*reading.log, &opener, end, &|_| ()).await.unwrap();
        assert_eq!((folded.position(), tree.size()), (end, end.0));
        match noted.get(&end) {
            Some(then) => assert!(folded == ***then && hash(vault, &folded) == hash(vault, then), "the replay differs at {end}"),
            None => assert!(folded == *vault.views_at(end).await.unwrap().unwrap(), "a look back differs at {end}"),
        }
    }
    assert!(folded == *vault.views() && vault.failure().is_none(), "the replay ends elsewhere");
}

async fn every_type_was_written(life: &Life) {
    let (mut at, mut seen) = (Position::ZERO, BTreeSet::new());
    loop {
        let records = life.vault().log().read(at, 512).await.unwrap();
        let Some(last) = records.last() else { break };
        at = last.header().position;
        seen.extend(records.iter().map(|record| (record.header().kind.clone(), record.header().event_type.clone())));
    }
    let elsewhere = ELSEWHERE.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    let missing: Vec<_> = all_types().into_iter().filter(|event| !seen.contains(event) && !elsewhere.contains(event)).collect();
    assert!(missing.is_empty(), "no command led to {missing:?}");
}

/// A caller who may do everything but see the past.
async fn without_history(life: &mut Life) -> String {
    let all = keyledger::kernel::Permission::ALL.iter().map(|permission| permission.name()).filter(|name| *name != "history:read");
    let role = life.ask("POST", "/v1/roles", json!({"name": "no past", "permissions": all.collect::<Vec<_>>()})).await;
    let user = life.ask("POST", "/v1/users", json!({"login": "present", "roles": [role["id"]]})).await;
    text(&life.ask("POST", "/v1/api-keys", json!({"name": "present", "owner": user["id"]})).await["token"])
}

async fn the_past_is_as_it_was(life: &Life, first: &Things, second: &Things, at: Position, then: &BTreeMap<String, Answer>, present: &str) {
    let running = life.running.as_ref().unwrap();
    for (path, told) in then {
        let now = life.read(running, &life.token, &as_of(path, at)).await;
        assert_eq!(now, *told, "{path} as of {at}");
        assert_eq!((told.0, told.1.as_deref()), (200, Some(at.to_string().as_str())), "{path}: {}", told.3);
        assert!(life.secrets.iter().all(|secret| !told.3.contains(secret.as_str())), "{path} shows a secret of the past: {}", told.3);
    }
    for read in reads(first, Some(second)) {
        for path in &read.paths[0] {
            assert_eq!(life.read(running, present, &as_of(path, at)).await.0, 403, "{path} needs history:read");
            assert_eq!(life.read(running, "nobody", &as_of(path, at)).await.0, 401, "{path}");
        }
        for path in read.paths[1].iter().filter(|path| !read.paths[0].contains(path)) {
            // Sessions are a list, of a user who was not there.
            let (status, _, _, body) = life.read(running, &life.token, &as_of(path, at)).await;
            assert_eq!(status, 404, "{path} of {} was not there at {at}: {body}", read.template);
        }
    }
}

/// What every route tells at the end of the first life, live and as of that moment.
async fn told_then(life: &Life, first: &Things, at: Position) -> BTreeMap<String, Answer> {
    let running = life.running.as_ref().unwrap();
    let then = all_as_of(life, running, first, at).await;
    no_point_is_refused(life, first).await;
    for (path, told) in &then {
        // Looking at an API client writes that its secrets were shown.
        if !path.starts_with(&format!("{CLIENTS}/")) {
            let now = life.read(running, &life.token, path).await;
            assert_eq!((now.0, without_uses(&now.3)), (told.0, without_uses(&told.3)), "{path}: live is the past of this moment");
        }
    }
    then
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_lived_through_every_command_is_what_its_log_says() {
    let mut life = Life::begin().await;
    let first = live(&mut life, "a").await;
    let at = life.vault().views().position();
    let then = told_then(&life, &first, at).await;
    let (state, secrets, worked) = (life.running.as_ref().unwrap().state(), life.secrets.len(), life.working(life.vault()));
    let key = life.vault().views();
    let connection = key.things().find_map(|(_, entry)| entry.state.secrets().into_iter().find(|secret| secret.name == "refresh_token").cloned()).unwrap();
    let second = live(&mut life, "b").await;
    end(&mut life, &first).await;
    let shred = SecretAt { position: connection.position, name: connection.name.clone() };
    life.vault().shred(Meta::default(), &[shred], "a test").await.unwrap();
    life.note();
    let present = without_history(&mut life).await;
    every_type_was_written(&life).await;
    live_is_replay(&mut life).await;
    the_past_is_as_it_was(&life, &first, &second, at, &then, &present).await;
    assert!(life.read(life.running.as_ref().unwrap(), &life.token, &format!("{OWN_APPLICATIONS}/{}", first.by_prefix[OWN_APPLICATIONS])).await.0 == 404);
    // After a start from the log alone, and after one from a snapshot.
    life.note();
    let (last, last_state) = (life.vault().views(), life.running.as_ref().unwrap().state());
    for snapshot in [false, true] {
        let path = life.home("data").snapshot();
        life.running.take().unwrap().end(snapshot.then_some(path.as_path())).await;
        assert_eq!(path.exists(), snapshot);
        life.start().await;
        assert!(*life.vault().views() == *last && life.running.as_ref().unwrap().state() == last_state, "from a snapshot: {snapshot}");
        the_past_is_as_it_was(&life, &first, &second, at, &then, &present).await;
        life.note();
    }
    // Restored to the end of the first life.
    let into = life.folder.path().join("restored");
    let restored = life.home("data").restore(Until::Position(at), &into, &|_, _, _| ()).await.unwrap();
    assert_eq!((restored.position, &restored.state), (at, &state));
    let old = life.running.take().unwrap();
    let again = serve_home(&life.home("restored")).await;
    assert!(again.vault.views_at(at).await.unwrap().unwrap() == old.vault.views_at(at).await.unwrap().unwrap());
    let works = life.working(&again.vault);
    assert_eq!(works[..secrets], worked[..], "what opened something then opens it again, and nothing else does");
    let ends = works[secrets..].iter().zip(&life.secrets[secrets..]).find(|(works, secret)| **works && !secret.starts_with("eyJ"));
    assert_eq!(ends, None, "what was issued later is not known");
    for (path, told) in &then {
        assert_eq!(life.read(&again, &life.token, &as_of(path, at)).await, *told, "{path} in the restored vault");
    }
    for (things, password, status) in
        [(&first, &first.password, 201), (&first, &"the first password of all a".to_owned(), 401), (&second, &second.password, 401)]
    {
        let request = life.request(&again, "", "POST", "/v1/sessions", "acme-a");
        let answer = request.json(&json!({"login": things.login, "password": password})).send().await.unwrap();
        assert_eq!(answer.status(), status, "{} by {password}", things.login);
    }
    again.end(None).await;
    old.end(None).await;
}
