//! A scan for the secrets that the vault draws itself: they stand in the answers that show them once, and in no file, log line or other answer.

use std::fs;

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::canary::{forms, found_below, start, whole};
use crate::served::Server;

/// The secret part of a token that an answer shows.
fn shown(answer: Response, secrets: &mut Vec<String>) -> (String, Value) {
    let body: Value = answer.json().unwrap();
    let token = body["token"]["value"].as_str().unwrap().to_owned();
    secrets.push(token.split('_').nth(2).unwrap().to_owned());
    (token, body)
}

/// Makes, refreshes, uses and looks for keys, under idempotency keys too.
fn send_all(server: &Server) -> Vec<String> {
    let mut secrets = Vec::new();
    let key = json!({"name": "a key", "emails": [], "organizationsIds": [], "permissions": ["api-keys:read"]});
    let create = || server.call("POST", "/api-keys").header("idempotency-key", "one").json(&key).send().unwrap();
    let (first, made) = shown(create(), &mut secrets);
    let path = format!("/api-keys/{}", made["id"]);
    let refresh = || server.call("PATCH", &path).header("idempotency-key", "two").json(&json!({"refreshApiToken": true, "name": "new"})).send().unwrap();
    let (second, _) = shown(refresh(), &mut secrets);
    // A repeat shows the same once more: it lies sealed in the log, and nowhere else.
    assert_eq!((shown(create(), &mut secrets).0, shown(refresh(), &mut secrets).0), (first.clone(), second.clone()));
    let use_it = |token: &str| server.call("GET", "/api-keys").header("authorization", format!("Bearer {token}")).send().unwrap();
    drop((use_it(&first), use_it(&second)));
    for token in [&first, &second] {
        let asked = server.call("GET", &format!("/api-keys?token={token}")).send().unwrap();
        assert_eq!(asked.status(), 200);
    }
    let pieces = server.call("POST", "/external_provider/api_key/delete").header("x-application-id", &second);
    assert_eq!(pieces.json(&json!({"user": "owner"})).send().unwrap().status(), 200);
    secrets.truncate(2);
    secrets
}

#[test]
fn a_token_stands_only_in_the_answer_that_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    let secrets = send_all(&server);
    // Also as the bytes that its digits stand for.
    let mut all: Vec<Vec<Vec<u8>>> = secrets.iter().map(|secret| forms(secret)).collect();
    for (forms, secret) in all.iter_mut().zip(&secrets) {
        forms.push(base16ct::lower::decode_vec(secret).unwrap());
    }
    let found = |bytes: &[u8]| -> Vec<usize> {
        let holds = |form: &Vec<u8>| bytes.windows(form.len()).any(|window| window == form.as_slice());
        (0..all.len()).filter(|number| all[*number].iter().any(holds)).collect()
    };
    assert_eq!(found(format!("a line with {} in it", secrets[1]).as_bytes()), [1], "the scan itself works");
    let head = server.call("GET", "/v1/events?limit=1").send().unwrap().json::<Value>().unwrap()["position"].as_u64().unwrap();
    let mut paths = vec!["/api-keys?optFields=emails,labels,permissions".to_owned(), "/v1/credentials?show=all".into(), "/v1/events?limit=200".into()];
    paths.extend((head - 5..=head).map(|position| format!("/api-keys?as_of={position}")));
    for path in &paths {
        let answer = server.call("GET", path).send().unwrap();
        assert_eq!((answer.status().as_u16(), found(&whole(answer))), (200, vec![]), "{path}");
    }
    assert_eq!(found_below(folder.path(), &found), [], "while it runs");
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    server.child.wait().unwrap();
    assert_eq!(found_below(folder.path(), &found), [], "after its end");
    assert!(fs::read_to_string(folder.path().join("server.log")).unwrap().lines().count() > 20, "the log was on");
}
