//! Our own routes over HTTP: the audit log, credentials, reveals, connectors, the state; and the OpenAPI document against their answers.

use std::process::Command;

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::served::{Server, client, start};

const PIPEDRIVE: &str = "/vault/connections/crm/pipedrive";

fn get(server: &Server, path: &str) -> Value {
    let answer = server.call("GET", path).send().unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().unwrap()
}

fn post(server: &Server, path: &str, body: &Value) -> Response {
    server.call("POST", path).json(body).send().unwrap()
}

/// Status and word of a problem, which must be whole.
fn problem(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().unwrap();
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string() && !body.to_string().contains("canary"), "{body}");
    (status, body["type"].as_str().unwrap().trim_start_matches("urn:keyledger:problem:").to_owned())
}

fn import(server: &Server, path: &str, access: &str) -> u64 {
    let answer = post(server, &format!("{path}/import"), &json!({"credentials": {"access_token": access, "refresh_token": "canary-refresh"}}));
    assert_eq!(answer.status(), 200);
    answer.headers()["keyledger-position"].to_str().unwrap().parse().unwrap()
}

/// All pages of a list, each as long as the server gives it.
fn all(server: &Server, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(server, &format!("{path}&cursor={cursor}"));
        items.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return items,
        }
    }
}

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[test]
fn the_audit_log_is_filtered_paged_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let first = import(&server, PIPEDRIVE, "canary-one");
    server.ok("PATCH", PIPEDRIVE, Some(json!({"enabled": false})));
    let last = get(&server, "/v1/events?limit=1")["position"].as_u64().unwrap();
    let whole = all(&server, "/v1/events?limit=7&order=asc");
    assert_eq!(positions(&whole).first(), Some(&1));
    assert!(positions(&whole).is_sorted() && positions(&whole).last() == Some(&last));
    let mut reversed = all(&server, "/v1/events?limit=50&order=desc");
    reversed.reverse();
    assert_eq!(whole, reversed);
    let text = Value::from(whole.clone()).to_string();
    assert!(!text.contains("canary") && text.contains("\"verifier\":\"hidden\""));
    assert!(whole.iter().any(|event| event["kind"] == "tenant"), "tenants are the business of who runs the vault");
    // Each filter gives what a look through the whole gives.
    let of = |filter: &str| positions(&all(&server, &format!("/v1/events?limit=9&order=asc&{filter}")));
    let by = |matches: &dyn Fn(&Value) -> bool| positions(&whole.iter().filter(|event| matches(event)).cloned().collect::<Vec<_>>());
    let stream = whole.last().unwrap()["stream"].as_str().unwrap();
    let (actor, at) = (whole.last().unwrap()["actor"].as_str().unwrap(), whole.last().unwrap()["recorded_at"].as_str().unwrap());
    assert_eq!(of("kind=connection"), by(&|event| event["kind"] == "connection"));
    assert_eq!(of("type=put"), by(&|event| event["type"] == "put"));
    assert_eq!(of(&format!("stream={stream}")), by(&|event| event["stream"] == stream));
    assert_eq!(of(&format!("actor={actor}")), by(&|event| event["actor"] == actor));
    assert_eq!(of(&format!("from={first}&to={last}")), by(&|event| event["position"].as_u64() >= Some(first)));
    assert_eq!(of(&format!("from={at}")), by(&|event| event["recorded_at"].as_str() >= Some(at)));
    assert_eq!(of(&format!("to={at}")), by(&|event| event["recorded_at"].as_str() < Some(at)));
    assert_eq!(of(&format!("as_of={first}")), by(&|event| event["position"].as_u64() <= Some(first)));
    assert_eq!(of("kind=nothing"), Vec::<u64>::new());
    let newest_first = positions(&all(&server, &format!("/v1/events?limit=1&stream={stream}")));
    assert_eq!(newest_first, of(&format!("stream={stream}")).into_iter().rev().collect::<Vec<_>>(), "along the stream");
    let (of_stream, middle) = (of(&format!("stream={stream}")), newest_first[newest_first.len() / 2]);
    let earlier: Vec<u64> = of_stream.into_iter().rev().filter(|position| *position <= middle).collect();
    assert_eq!(positions(&all(&server, &format!("/v1/events?limit=1&stream={stream}&to={middle}"))), earlier);
    assert_eq!(
        positions(&all(&server, &format!("/v1/events?limit=9&stream={stream}&to={}", middle + 1))).first(),
        newest_first.iter().find(|at| **at <= middle + 1)
    );
    let one = get(&server, &format!("/v1/events/{first}"));
    assert_eq!(one, *whole.iter().find(|event| event["position"] == first).unwrap());
    let secrets: Vec<&Value> = one["secrets"].as_array().unwrap().iter().map(|secret| &secret["name"]).collect();
    assert_eq!(secrets, ["access_token", "refresh_token"]);
    assert_eq!((&one["meta"]["ip"], &one["meta"]["rule"]), (&json!("127.0.0.1"), &json!("role:owner")));
}

#[test]
fn credentials_are_listed_seen_in_the_past_and_followed_to_their_first_event() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let before = get(&server, "/v1/credentials")["position"].as_u64().unwrap();
    let at = import(&server, PIPEDRIVE, "canary-one");
    import(&server, "/vault/connections/crm/hubspot", "canary-two");
    let listed = all(&server, "/v1/credentials?limit=1");
    let named = |name: &str| listed.iter().find(|item| item["name"] == name).unwrap().clone();
    assert_eq!(listed.len(), 3, "two connections and the owner's key");
    assert_eq!(named("owner's first key")["state"], "active");
    let connection = named("crm+pipedrive");
    assert_eq!(connection["connection"], json!({"app": "app", "consumer": "acme", "unified_api": "crm", "service_id": "pipedrive"}));
    assert!(!Value::from(listed.clone()).to_string().contains("canary"));
    let id = connection["id"].as_str().unwrap();
    assert_eq!(get(&server, &format!("/v1/credentials/{id}")), connection);
    let listing = |query: &str| all(&server, &format!("/v1/credentials?{query}")).iter().map(|item| item["name"].to_string()).collect::<Vec<_>>();
    assert_eq!(listing("kind=api_key"), ["\"owner's first key\""]);
    assert_eq!(listing("consumer=acme&app=app").len(), 2);
    assert_eq!(listing("consumer=other").len(), 0);
    assert_eq!(listing(&format!("as_of={before}")).len(), 1);
    assert_eq!(listing(&format!("as_of={at}")).len(), 2);
    server.call("DELETE", PIPEDRIVE).send().unwrap();
    assert_eq!(listing("").len(), 2);
    assert_eq!(listing("show=deleted"), ["\"crm+pipedrive\""]);
    assert_eq!(listing("show=all").len(), 3);
    let gone = get(&server, &format!("/v1/credentials/{id}"));
    assert_eq!((&gone["state"], &gone["secrets"]), (&json!("deleted"), &json!([])));
    assert_eq!(get(&server, &format!("/v1/credentials/{id}?as_of={at}")), connection, "as it was");
    let history = all(&server, &format!("/v1/credentials/{id}/history?limit=1"));
    let types: Vec<&str> = history.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["deleted", "imported", "created"]);
    assert_eq!(all(&server, &format!("/v1/credentials/{id}/history?as_of={at}")).len(), 2);
    let etag = server.call("GET", &format!("/v1/credentials/{id}")).send().unwrap().headers()["etag"].clone();
    assert_eq!(etag, format!("\"{}\"", gone["content_version"]));
}

#[test]
fn a_secret_is_revealed_for_a_reason_and_the_event_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    import(&server, PIPEDRIVE, "canary-one");
    let id = all(&server, "/v1/credentials?kind=connection")[0]["id"].as_str().unwrap().to_owned();
    let ask = |secret: &str, reason: &str| post(&server, "/v1/secrets/reveal", &json!({"credential": id, "secret": secret, "reason": reason}));
    let answer = ask("access_token", "support case 4711");
    assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    let shown: Value = answer.json().unwrap();
    assert_eq!((&shown["value"], &shown["value_base64"]), (&json!("canary-one"), &Value::Null));
    let event = get(&server, &format!("/v1/events/{}", shown["position"]));
    assert_eq!((&event["type"], &event["meta"]["reason"], &event["class"]), (&json!("revealed"), &json!("support case 4711"), &json!("observation")));
    assert!(!event.to_string().contains("canary"));
    let head = || get(&server, "/v1/events?limit=1")["position"].clone();
    let before = head();
    assert_eq!(problem(ask("access_token", " ")), (400, "invalid".into()));
    assert_eq!(problem(ask("access_token", &"x".repeat(513))), (400, "invalid".into()));
    assert_eq!(problem(ask("no_such_secret", "a test")), (404, "not-found".into()));
    let other = json!({"credential": "0".repeat(32), "secret": "access_token", "reason": "a test"});
    assert_eq!(problem(post(&server, "/v1/secrets/reveal", &other)), (404, "not-found".into()));
    assert_eq!(problem(post(&server, "/v1/secrets/reveal", &json!({"credential": id}))), (400, "invalid".into()));
    assert_eq!(problem(server.call("POST", "/v1/secrets/reveal").send().unwrap()), (400, "invalid".into()));
    assert_eq!(head(), before, "what is refused writes nothing");
    server.call("DELETE", PIPEDRIVE).send().unwrap();
    assert_eq!(problem(ask("access_token", "a test")), (404, "not-found".into()));
}

#[test]
fn a_connector_of_ones_own_lies_over_the_shipped_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let path = "/v1/connectors/crm/pipedrive";
    let shipped = get(&server, path);
    assert_eq!((&shipped["shipped"], &shipped["version"]), (&json!(true), &json!(0)));
    let mut own = shipped["connector"].clone();
    own["name"] = json!("Our Pipedrive");
    let put = |path: &str, body: &Value, tag: Option<&str>| {
        let request = server.call("PUT", path).json(body);
        tag.map_or_else(|| server.call("PUT", path).json(body), |tag| request.header("if-match", tag)).send().unwrap()
    };
    let answer = put(path, &own, Some("\"0\""));
    assert_eq!((answer.status().as_u16(), &answer.headers()["etag"]), (200, &"\"1\"".parse().unwrap()));
    assert_eq!(get(&server, path)["connector"], own);
    assert_eq!(server.ok("GET", PIPEDRIVE, None)["name"], "Our Pipedrive");
    assert_eq!(problem(put(path, &own, Some("\"0\""))), (412, "changed-meanwhile".into()));
    // The path names it, so the body need not.
    let members = own.as_object_mut().unwrap();
    members.remove("unified_api");
    members.remove("service_id");
    assert_eq!(put("/v1/connectors/crm/our-own", &own, None).status(), 200);
    assert_eq!(server.ok("GET", "/vault/connections/crm/our-own", None)["state"], "available");
    let listed = get(&server, "/v1/connectors?unified_api=crm");
    assert!(listed["data"].as_array().unwrap().iter().all(|entry| entry["connector"]["unified_api"] == "crm"));
    own["service_id"] = json!("another");
    assert_eq!(problem(put("/v1/connectors/crm/our-own", &own, None)), (400, "invalid".into()));
    own["service_id"] = json!("our-own");
    own["canary"] = json!(1);
    assert_eq!(problem(put("/v1/connectors/crm/our-own", &own, None)), (400, "invalid".into()));
    for wrong in [json!([]), json!({}), json!({"name": 1})] {
        assert_eq!(problem(put("/v1/connectors/crm/our-own", &wrong, None)), (400, "invalid".into()), "{wrong}");
    }
    assert_eq!(problem(server.call("GET", "/v1/connectors/crm/nobody").send().unwrap()), (404, "not-found".into()));
}

#[test]
fn the_state_hash_is_the_one_that_replay_prints() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let at = import(&server, PIPEDRIVE, "canary-one");
    import(&server, PIPEDRIVE, "canary-two");
    for position in [at, at + 1, 97] {
        let live = get(&server, &format!("/v1/log/state?position={position}"));
        let mut replay = Command::new(env!("CARGO_BIN_EXE_keyledger"));
        replay.env_clear().env("XDG_CONFIG_HOME", folder.path().join("config")).args(["replay", "--output", "json", "--to", &position.to_string()]);
        let output = replay.arg("--data").arg(folder.path().join("data")).output().unwrap();
        let replayed: Value = serde_json::from_slice(&output.stdout).unwrap();
        for member in ["position", "merkle_root", "state_hash", "fold_version", "recorded_at"] {
            assert_eq!(live[member], replayed[member], "{member} at {position}");
        }
    }
    assert_eq!(problem(server.call("GET", "/v1/log/state?position=100000").send().unwrap()), (404, "past-the-end".into()));
    assert_eq!(server.call("POST", "/v1/log/clock").send().unwrap().status(), 204);
}

#[test]
fn bad_requests_get_a_problem_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let head = || get(&server, "/v1/events?limit=1")["position"].clone();
    let before = head();
    let missing = "0".repeat(32);
    let cases = [
        ("GET", "/v1/events?limit=0".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?limit=201".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?canary=1".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?order=asc&order=asc".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?order=up".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?stream=canary".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?cursor=canary".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?from=yesterday".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?as_of=2026-05-04".to_owned(), 400, "invalid"),
        ("GET", "/v1/events?min_position=x".to_owned(), 400, "invalid"),
        ("GET", "/v1/events/99999".to_owned(), 404, "not-found"),
        ("GET", "/v1/events/0".to_owned(), 404, "not-found"),
        ("GET", "/v1/events/canary".to_owned(), 404, "not-found"),
        ("GET", "/v1/credentials?kind=canary".to_owned(), 400, "invalid"),
        ("GET", "/v1/credentials?show=canary".to_owned(), 400, "invalid"),
        ("GET", "/v1/credentials/canary".to_owned(), 404, "not-found"),
        ("GET", format!("/v1/credentials/{missing}"), 404, "not-found"),
        ("GET", format!("/v1/credentials/{missing}/history"), 404, "not-found"),
        ("GET", "/v1/log/state?position=x".to_owned(), 400, "invalid"),
        ("GET", "/v1/me?as_of=canary".to_owned(), 400, "invalid"),
        ("GET", "/v1/me?as_of=1".to_owned(), 400, "invalid"),
        ("GET", "/v1/me?canary=1".to_owned(), 400, "invalid"),
        ("GET", "/v1/nowhere".to_owned(), 404, "no-route"),
        ("DELETE", "/v1/events".to_owned(), 404, "no-route"),
    ];
    for (method, path, status, word) in cases {
        assert_eq!(problem(server.call(method, &path).send().unwrap()), (status, word.to_owned()), "{method} {path}");
    }
    for path in ["/v1/events", "/v1/events/1", "/v1/credentials", "/v1/connectors", "/v1/log/state"] {
        for token in ["", "canary", &server.token.replace(['0', '1', '2'], "3")] {
            let answer = client().get(format!("{}{path}", server.base)).bearer_auth(token).send().unwrap();
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
            assert_eq!(problem(answer), (401, "unauthorized".into()), "{path}");
        }
    }
    assert_eq!(head(), before);
}

#[test]
fn a_cursor_past_every_position_gives_an_empty_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    import(&server, PIPEDRIVE, "canary-one");
    // What a page's cursor looks like, around the highest position there is.
    let answer = server.call("GET", "/v1/credentials?cursor=Af__________").send();
    let page: Value = answer.expect("the server answers").json().unwrap();
    assert_eq!(page["data"], json!([]));
}
