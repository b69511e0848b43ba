//! A real server process, over HTTP: what the vendor's clients rely on, what is refused, and kill -9.

use serde_json::{Value, json};

use crate::served::{client, error, spawn, start};

const PIPEDRIVE: &str = "/vault/connections/crm/pipedrive";

#[test]
fn a_connections_life_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    assert_eq!(server.ok("GET", PIPEDRIVE, None)["state"], "available");
    let credentials =
        json!({"credentials": {"access_token": "canary-access", "refresh_token": "canary-refresh"}, "metadata": {"plan": "e"}, "consumer_id": "x"});
    let imported = server.ok("POST", &format!("{PIPEDRIVE}/import"), Some(credentials));
    assert_eq!((&imported["id"], &imported["state"], &imported["metadata"]), (&json!("crm+pipedrive"), &json!("callable"), &json!({"plan": "e"})));
    assert!(imported["created_at"].is_i64() && !imported.to_string().contains("canary"));
    let active = "/vault/connections/crm/activecampaign";
    let added = server.ok("PATCH", active, Some(json!({"enabled": true})));
    assert_eq!(added["state"], "added");
    let callable = server.ok("PATCH", active, Some(json!({"settings": {"base_url": "https://x.example.com", "api_key": "canary-key"}})));
    assert_eq!((&callable["state"], &callable["settings"]), (&json!("callable"), &json!({"base_url": "https://x.example.com"})));
    let position = server.call("GET", active).send().unwrap().headers()["keyledger-position"].to_str().unwrap().to_owned();
    assert_eq!(server.ok("POST", &format!("{active}/validate"), None)["state"], "callable");
    assert_eq!(server.ok("GET", "/vault/connections?configured=True", None).as_array().unwrap().len(), 2);
    assert_eq!(server.ok("GET", "/vault/consumers/acme", None)["services"].as_array().unwrap().len(), 2);
    let deleted = server.call("DELETE", active).send().unwrap();
    assert_eq!((deleted.status().as_u16(), deleted.bytes().unwrap().len()), (204, 0));
    assert_eq!(server.ok("GET", active, None)["state"], "available");
    assert_eq!(server.ok("GET", &format!("{active}?as_of={position}"), None)["state"], "callable", "the past is still there");
    assert_eq!(server.ok("GET", &format!("{active}?min_position={position}"), None)["state"], "available", "it has been reached");
    assert_eq!(server.ok("GET", "/vault/connections?configured=true", None).as_array().unwrap().len(), 1);
    server.ok("DELETE", "/vault/consumers/acme", None);
    assert_eq!(server.ok("GET", PIPEDRIVE, None)["state"], "available");
    let ready: Value = client().get(format!("{}/v1/health/ready", server.base)).send().unwrap().json().unwrap();
    assert_eq!(ready["status"], "ready");
}

#[test]
fn bad_requests_get_the_vendors_error_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let import = format!("{PIPEDRIVE}/import");
    let position = || server.call("GET", PIPEDRIVE).send().unwrap().headers()["keyledger-position"].clone();
    let before = position();
    let bare = |headers: &[(&str, &str)]| {
        let request = headers.iter().fold(client().get(format!("{}{PIPEDRIVE}", server.base)), |request, (name, value)| request.header(*name, *value));
        error(request.send().unwrap())
    };
    let bearer = format!("Bearer {}", server.token);
    assert_eq!(bare(&[]), (401, "UnauthorizedError".into()));
    assert_eq!(bare(&[("authorization", "Bearer canary")]), (401, "UnauthorizedError".into()));
    assert_eq!(bare(&[("authorization", &bearer[..bearer.len() - 1])]), (401, "UnauthorizedError".into()));
    assert_eq!(bare(&[("authorization", &bearer)]), (400, "RequestHeadersValidationError".into()));
    assert_eq!(bare(&[("authorization", &bearer), ("x-apideck-app-id", "a")]), (400, "RequestHeadersValidationError".into()));
    let deep = format!("{{\"metadata\":{}1{}}}", "[".repeat(16), "]".repeat(16));
    let bodies = [
        "canary",
        "[]",
        "{\"credentials\":7}",
        "{\"credentials\":{\"canary\":1}}",
        "{\"metadata\":1,\"metadata\":2}",
        "{\"credentials\":{\"access_token\":\"\"}}",
        "{} {}",
        &deep,
    ];
    for body in bodies {
        assert_eq!(error(server.call("POST", &import).body(body.to_owned()).send().unwrap()), (400, "RequestValidationError".into()), "{body}");
    }
    let large = format!("{{\"metadata\":\"{}\"}}", "x".repeat(256 * 1024));
    assert_eq!(error(server.call("POST", &import).body(large).send().unwrap()).0, 413);
    for (method, path, status) in [
        ("GET", "/vault/connections/crm/canary", 404),
        ("GET", "/vault/connections/crm/a/b", 404),
        ("GET", "/canary", 404),
        ("GET", "/vault/connections/crm/%FF", 404),
        ("GET", "/vault/consumers/%FF", 404),
        ("GET", "/vault/consumers?cursor=canary", 400),
        ("PUT", PIPEDRIVE, 404),
        ("DELETE", PIPEDRIVE, 404),
        ("GET", "/vault/connections?configured=canary", 400),
        ("GET", "/vault/connections/crm/pipedrive?as_of=canary", 400),
        ("GET", "/vault/consumers?limit=0", 400),
        ("GET", "/vault/consumers?limit=201", 400),
        ("GET", "/vault/consumers/canary", 404),
    ] {
        assert_eq!(error(server.call(method, path).send().unwrap()).0, status, "{method} {path}");
    }
    for (method, path, status) in [("GET", "/v1/canary", 404), ("POST", "/v1/health/live", 404)] {
        let answer = server.call(method, path).send().unwrap();
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {path}");
        assert_eq!(answer.json::<Value>().unwrap()["status"], status, "{method} {path}");
    }
    assert_eq!(error(server.call("PATCH", PIPEDRIVE).header("if-match", "\"7\"").json(&json!({"enabled": true})).send().unwrap()).0, 412);
    assert_eq!(position(), before, "nothing was written");
    let keyed =
        |token: &str| server.call("POST", &import).header("idempotency-key", "k1").json(&json!({"credentials": {"access_token": token}})).send().unwrap();
    assert_eq!(keyed("one").status(), 200);
    let after = position();
    assert_eq!(keyed("one").status(), 200);
    assert_eq!(position(), after, "a repeat writes nothing");
    assert_eq!(error(keyed("two")), (422, "IdempotencyKeyReusedError".into()));
    let delete = || server.call("DELETE", PIPEDRIVE).header("idempotency-key", "k2").send().unwrap().status();
    assert_eq!([delete(), delete()], [204, 204], "a repeat is answered as the first, though the thing is gone");
}

#[test]
fn one_server_per_vault_and_nothing_acknowledged_is_lost_to_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), "");
    let second = spawn(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains(&format!("pid {}", server.child.id())));
    let mut acknowledged = 0;
    for round in 0..50 {
        let (base, token) = (server.base.clone(), server.token.clone());
        let writer = std::thread::spawn(move || {
            let client = client();
            let mut last = 0_u32;
            for n in 1.. {
                let consumer = json!({"consumer_id": format!("r{round:02}-{n:04}")});
                let sent = client.post(format!("{base}/vault/consumers")).bearer_auth(&token).header("x-apideck-app-id", "app").json(&consumer).send();
                if !sent.is_ok_and(|answer| answer.status() == 200) {
                    break;
                }
                last = n;
            }
            last
        });
        let path = format!("/vault/consumers?filter[consumer_id]=r{round:02}-");
        while server.ok("GET", &path, None).as_array().unwrap().len() < 3 {}
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        let last = writer.join().unwrap();
        acknowledged += last;
        server = start(folder.path(), &server.token);
        for n in [1, last] {
            server.ok("GET", &format!("/vault/consumers/r{round:02}-{n:04}"), None);
        }
    }
    assert!(acknowledged >= 150);
}

#[test]
fn a_repeated_command_is_answered_as_it_was_first_whatever_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let import = || {
        let request = server.call("POST", &format!("{PIPEDRIVE}/import")).header("idempotency-key", "a-key");
        let answer = request.json(&json!({"credentials": {"access_token": "t"}, "metadata": {"n": 1}})).send().unwrap();
        (answer.status(), answer.headers()["keyledger-position"].clone(), answer.headers()["etag"].clone(), answer.bytes().unwrap())
    };
    let first = import();
    server.ok("PATCH", PIPEDRIVE, Some(json!({"metadata": {"n": 2}})));
    assert_eq!(import(), first);
    server.call("DELETE", PIPEDRIVE).send().unwrap();
    assert_eq!(import(), first);
    assert_eq!(server.ok("GET", PIPEDRIVE, None)["state"], "available");
}
