//! The API keys surface over HTTP: what is refused, and that nothing of it is repeated or written.

use serde_json::{Value, json};

use crate::served_bench::{Came, ServedBench, came};

const KEYS: &str = "/api-keys";
const WORDS: [(u16, &str); 8] = [
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (409, "Conflict"),
    (412, "Precondition Failed"),
    (413, "Payload Too Large"),
    (422, "Unprocessable Entity"),
];

/// Status of an error, which must be whole and repeat nothing.
fn refused(answer: &Came) -> u16 {
    let word = WORDS.iter().find(|(status, _)| *status == answer.status).map(|(_, word)| *word);
    assert_eq!((answer.body["statusCode"].as_u64(), answer.body["error"].as_str()), (Some(answer.status.into()), word), "{answer:?}");
    assert!(answer.body["message"].is_string() && answer.body.as_object().unwrap().len() == 3, "{answer:?}");
    assert!(!answer.body.to_string().contains("canary"), "{answer:?}");
    answer.status
}

fn key() -> Value {
    json!({"name": "a key", "emails": [], "organizationsIds": [], "permissions": []})
}

/// The same with other members, or without one that is null.
fn with(changes: &Value) -> Value {
    let mut key = key();
    for (name, value) in changes.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

fn without(name: &str) -> Value {
    let mut key = key();
    key.as_object_mut().unwrap().remove(name);
    key
}

async fn make(bench: &ServedBench, changes: &Value) -> (String, String) {
    let made = bench.own("POST", KEYS, with(changes)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (format!("{KEYS}/{}", made.body["id"]), made.body["token"]["value"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bodies_are_refused_and_nothing_is_written() {
    let bench = ServedBench::start().await;
    let (path, _) = make(&bench, &json!({})).await;
    let before = bench.vault.views().position();
    for name in ["name", "emails", "organizationsIds", "permissions"] {
        let answer = bench.own("POST", KEYS, without(name)).await;
        assert_eq!((refused(&answer), answer.body["message"].as_str().unwrap()), (400, format!("{name}: is missing").as_str()));
    }
    // Wrong for a new key and for a change alike.
    let wrong = [
        json!({"canary": 1}),
        json!({"id": 5}),
        json!({"token": {"value": "canary"}}),
        json!({"name": null}),
        json!({"name": ""}),
        json!({"name": " canary"}),
        json!({"name": "canary\u{200b}"}),
        json!({"name": "canary".repeat(30)}),
        json!({"emails": null}),
        json!({"emails": "canary@example.com"}),
        json!({"emails": ["canary"]}),
        json!({"emails": [1]}),
        json!({"emails": vec!["a@example.com"; 65]}),
        json!({"emails": [], "email": []}),
        json!({"organizationsIds": [], "organizationIds": []}),
        json!({"organizationsIds": null}),
        json!({"organizationsIds": ["1"]}),
        json!({"organizationsIds": [-1]}),
        json!({"organizationsIds": [1.5]}),
        json!({"organizationsIds": [1]}),
        json!({"organizationsIds": [bench.vault.views().position().0]}),
        json!({"permissions": null}),
        json!({"permissions": ["canary"]}),
        json!({"permissions": ["accessFtp"]}),
        json!({"permissions": vec!["editLabels"; 65]}),
        json!({"dnsName": ""}),
        json!({"dnsName": "canary/"}),
        json!({"dnsName": "a".repeat(256)}),
        json!({"dnsName": 1}),
        json!({"labels": null}),
        json!({"labels": [""]}),
        json!({"labels": ["canary\n"]}),
    ];
    for changes in &wrong {
        let answer = bench.own("POST", KEYS, with(changes)).await;
        assert_eq!(refused(&answer), 400, "{changes}");
        assert_eq!(refused(&bench.own("PATCH", &path, changes.clone()).await), 400, "{changes}");
    }
    for change in [json!({"blocked": null}), json!({"blocked": "true"}), json!({"refreshApiToken": null}), json!({"refreshApiToken": 1}), json!([])] {
        assert_eq!(refused(&bench.own("PATCH", &path, change).await), 400);
    }
    assert_eq!(refused(&bench.own("POST", KEYS, with(&json!({"blocked": true}))).await), 400);
    for (method, path) in [("POST", KEYS), ("PATCH", &path)] {
        let raw = async |body: String| refused(&came(bench.request(&bench.token, method, path).body(body)).await);
        assert_eq!(raw(String::new()).await, 400);
        assert_eq!(raw("{\"name\": \"a\", \"name\": \"canary\"}".into()).await, 400);
        assert_eq!(raw("{\"name\": \"canary".into()).await, 400);
        assert_eq!(raw(format!("{{\"labels\": {}1{}}}", "[".repeat(20), "]".repeat(20))).await, 400);
        assert_eq!(raw(format!("{{\"name\": \"{}\"}}", "canary".repeat(12_000))).await, 413);
    }
    let mut other = without("organizationsIds");
    other["organizationIds"] = json!([7]);
    assert_eq!(bench.own("POST", KEYS, other).await.body["message"], "organizationsIds[0]: is no organisation of this tenant");
    assert_eq!(bench.vault.views().position(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn sftp_needs_a_user_name_and_nobody_else_has_it() {
    let bench = ServedBench::start().await;
    let (path, _) = make(&bench, &json!({"permissions": ["accessFtp"], "dnsName": "Rec-1"})).await;
    let change = async |body: Value| {
        let answer = bench.own("PATCH", &path, body).await;
        if answer.status == 200 { 200 } else { refused(&answer) }
    };
    let refusal = bench.own("PATCH", &path, json!({"dnsName": null})).await;
    assert_eq!((refused(&refusal), &refusal.body["message"]), (400, &json!("dnsName: is needed by the permission accessFtp")));
    assert_eq!(change(json!({"dnsName": null, "permissions": ["editLabels"]})).await, 200);
    assert_eq!(change(json!({"permissions": ["accessFtp"]})).await, 400);
    assert_eq!(change(json!({"permissions": ["accessFtp"], "dnsName": "rec-2"})).await, 200);
    assert_eq!(change(json!({"dnsName": "REC-2"})).await, 200, "its own name, written otherwise");
    // Freed by the change; taken by the other, whatever its letters.
    let (other, _) = make(&bench, &json!({"dnsName": "rec-1"})).await;
    assert_eq!(change(json!({"dnsName": "REC-1"})).await, 409);
    let taken = bench.own("POST", KEYS, with(&json!({"dnsName": "rEc-1"}))).await;
    assert_eq!((refused(&taken), &taken.body["message"]), (409, &json!("dnsName: another key has it")));
    assert_eq!(bench.own("DELETE", &other, Value::Null).await.status, 200);
    assert_eq!(change(json!({"dnsName": "rec-1"})).await, 200, "a deleted key's name is free");
    // Of another tenant, it is no matter.
    let acme = bench.tenant("acme").await;
    assert_eq!(bench.send(&acme, "POST", KEYS, with(&json!({"dnsName": "rec-1"}))).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_concurrent_claims_of_one_name_one_is_met() {
    let bench = ServedBench::start().await;
    let claim = async |number: usize| {
        let answer = bench.own("POST", KEYS, with(&json!({"name": format!("key {number}"), "dnsName": "rec"}))).await;
        if answer.status == 201 { 201 } else { refused(&answer) }
    };
    let all = futures_util::future::join_all((0..200).map(claim)).await;
    let count = |status: u16| all.iter().filter(|other| **other == status).count();
    assert_eq!((count(201), count(409)), (1, 199));
    let listed = bench.own("GET", KEYS, Value::Null).await.body;
    assert_eq!(listed.as_array().unwrap().iter().filter(|key| key["dnsName"] == "rec").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_and_another_tenants_are_refused_alike() {
    let bench = ServedBench::start().await;
    let acme = bench.tenant("acme").await;
    let theirs = bench.send(&acme, "POST", KEYS, key()).await;
    assert_eq!(theirs.status, 201);
    let foreign = theirs.body["id"].to_string();
    let organization = bench.organization("Ours").await.to_string();
    let nothing = "999999".to_owned();
    for method in ["GET", "PATCH", "DELETE"] {
        let ask = async |number: &str| {
            let body = if method == "PATCH" { json!({"name": "x"}) } else { Value::Null };
            bench.own(method, &format!("{KEYS}/{number}"), body).await
        };
        let unknown = ask(&nothing).await;
        assert_eq!(refused(&unknown), 404);
        let id = bench
            .vault
            .views()
            .numbered(bench.owner.tenant, keyledger::credentials::Kind::ApiKey, keyledger::kernel::Position(1))
            .map(|(id, _)| id.to_string());
        for other in [&foreign, &organization, "0", "-1", "+1", "01", "1.0", "x", "%00", "18446744073709551616", id.as_deref().unwrap_or("y")] {
            assert_eq!(ask(other).await, unknown, "{method} {other}");
        }
    }
    let token = theirs.body["token"]["value"].as_str().unwrap();
    let short = theirs.body["token"]["short"].as_str().unwrap();
    for query in [format!("token={token}"), format!("token={short}"), "name=a%20key".to_owned()] {
        assert_eq!(bench.own("GET", &format!("{KEYS}?{query}"), Value::Null).await.body, json!([]), "{query}");
    }
    assert_eq!(bench.send(&acme, "GET", &format!("{KEYS}?token={token}"), Value::Null).await.body[0]["id"], theirs.body["id"]);
    let ours = bench.own("POST", KEYS, with(&json!({"organizationsIds": [organization.parse::<u64>().unwrap()]}))).await;
    assert_eq!(ours.status, 201);
    let foreign = bench.send(&acme, "POST", KEYS, with(&json!({"organizationsIds": [organization.parse::<u64>().unwrap()]}))).await;
    let unknown = bench.send(&acme, "POST", KEYS, with(&json!({"organizationsIds": [999_999]}))).await;
    assert_eq!((refused(&foreign), &foreign), (400, &unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_permissions_and_versions_are_asked_for_first() {
    let bench = ServedBench::start().await;
    let (path, weak) = make(&bench, &json!({"name": "weak", "permissions": ["editLabels"]})).await;
    let (_, writer) = make(&bench, &json!({"permissions": ["api-keys:read", "api-keys:write"]})).await;
    for (method, path) in [("GET", KEYS), ("POST", KEYS), ("GET", &path), ("PATCH", &path), ("DELETE", &path)] {
        // Neither query nor body is looked at before.
        let request = |token: &str| bench.request(token, method, &format!("{path}?canary=1")).body("canary");
        assert_eq!(refused(&came(request("klkey_wrong")).await), 401);
        assert_eq!(refused(&came(request(&weak)).await), 403);
    }
    let anonymous = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let url = bench.request("x", "GET", KEYS).build().unwrap().url().to_string();
    assert_eq!(refused(&came(anonymous.get(&url)).await), 401);
    assert_eq!(anonymous.get(&url).send().await.unwrap().headers()["www-authenticate"], "Bearer");
    // Nobody gives what they do not hold, nor changes what may do more.
    let send = async |method: &str, path: &str, body: Value| bench.send(&writer, method, path, body).await;
    assert_eq!(refused(&send("POST", KEYS, with(&json!({"permissions": ["audit:read"]}))).await), 403);
    assert_eq!(refused(&send("PATCH", &path, json!({"permissions": ["audit:read"]})).await), 403);
    let mine = bench.own("GET", &format!("{KEYS}?name=owner"), Value::Null).await.body[0]["id"].to_string();
    for body in [json!({"blocked": true}), json!({"refreshApiToken": true})] {
        assert_eq!(refused(&send("PATCH", &format!("{KEYS}/{mine}"), body).await), 403);
    }
    assert_eq!(refused(&send("DELETE", &format!("{KEYS}/{mine}"), Value::Null).await), 403);
    assert_eq!(send("PATCH", &path, json!({"permissions": ["api-keys:read"]})).await.status, 200);
    // The version that was seen.
    let change = async |method: &str, tag: &str, body: &Value| {
        let request = bench.request(&bench.token, method, &path).header("if-match", tag);
        came(if body.is_null() { request } else { request.json(body) }).await
    };
    for (method, body) in [("PATCH", json!({"name": "x"})), ("PATCH", json!({"refreshApiToken": true})), ("DELETE", Value::Null)] {
        assert_eq!(refused(&change(method, "\"1\"", &body).await), 412, "{body}");
        for wrong in ["*", "W/\"2\"", "2", "canary"] {
            assert_eq!(refused(&change(method, wrong, &body).await), 400, "{wrong}");
        }
    }
    let changed = change("PATCH", "\"2\"", &json!({"refreshApiToken": true, "name": "y"})).await;
    assert_eq!((changed.status, changed.etag.as_deref()), (200, Some("\"4\"")));
    assert_eq!(change("DELETE", "\"4\"", &Value::Null).await.status, 200);
    assert_eq!(refused(&change("PATCH", "\"4\"", &json!({"name": "x"})).await), 404, "it is gone, whatever was seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_refused_in_the_same_shape() {
    let bench = ServedBench::start().await;
    for (method, path) in [
        ("PUT", KEYS),
        ("DELETE", KEYS),
        ("PATCH", KEYS),
        ("POST", "/api-keys/1"),
        ("PUT", "/api-keys/1"),
        ("GET", "/api-keys/"),
        ("GET", "/api-keys/1/"),
        ("GET", "/api-keys/1/token"),
    ] {
        assert_eq!(refused(&bench.own(method, path, Value::Null).await), 404, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_name_the_applications_that_its_maker_may_name() {
    let bench = ServedBench::start().await;
    let grant = keyledger::credentials::api_key::Grant {
        permissions: vec!["api-keys:write".into(), "connections:read".into()],
        ..crate::vault_grants::grant("bound", &["app-a"], None)
    };
    let mut token = String::new();
    bench
        .execute(|given| {
            let (plan, _, values) = keyledger::vault::plans::create_api_key(given, &bench.owner, grant.clone())?;
            token = String::from_utf8(values[0].expose().to_vec()).unwrap();
            Ok(plan)
        })
        .await;
    let made = bench.send(&token, "POST", KEYS, with(&json!({"permissions": ["connections:read"]}))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let connections = async |app: &str| {
        let request = bench.request(made.body["token"]["value"].as_str().unwrap(), "GET", "/vault/connections").header("x-apideck-app-id", app);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((connections("app-a").await, connections("app-b").await), (200, 401));
}
