//! Webhooks over HTTP: what may be made of them and by whom, what is shown once, and how a webhook is tried out and replayed.

use serde_json::{Value, json};

use crate::served_vault::ServedBench;
use crate::webhook_bench::Endpoint;

const HOOKS: &str = "/v1/webhooks";

fn body(url: &str) -> Value {
    json!({"url": url, "events": ["vault.connection.created"]})
}

#[tokio::test]
async fn a_secret_is_shown_once_and_again_to_a_repeat_and_versions_guard_changes() {
    let bench = ServedBench::new().await;
    let create = || bench.request("POST", HOOKS).bearer_auth(&bench.token).header("idempotency-key", "one").json(&body("https://example.com/hook"));
    let (made, again) = (bench.send(create()).await, bench.send(create()).await);
    assert_eq!((made.status, again.status, &made.body), (201, 201, &again.body));
    let (id, secret) = (made.body["webhook"]["id"].as_str().unwrap().to_owned(), made.text("secret"));
    assert!(secret.starts_with("whsec_") && secret.len() == 50);
    let path = format!("{HOOKS}/{id}");
    let got = bench.call(&bench.token, "GET", &path, Value::Null).await;
    assert_eq!((got.body.clone(), got.header("etag")), (made.body["webhook"].clone(), "\"1\""));
    let update = |tag: &str, changes: Value| bench.request("PATCH", &path).bearer_auth(&bench.token).header("if-match", tag).json(&changes);
    assert_eq!(bench.send(update("\"7\"", json!({"enabled": false}))).await.status, 412);
    let changed = bench.send(update("\"1\"", json!({"enabled": false, "description": "x"}))).await;
    assert_eq!((changed.status, &changed.body["enabled"], &changed.body["content_version"], changed.header("etag")), (200, &json!(false), &json!(2), "\"2\""));
    let rotate = || bench.request("POST", &format!("{path}/rotate")).bearer_auth(&bench.token).header("idempotency-key", "two");
    let (rotated, again) = (bench.send(rotate()).await, bench.send(rotate()).await);
    assert_eq!((rotated.status, rotated.text("secret")), (200, again.text("secret")));
    assert!(rotated.text("secret") != secret && rotated.body["webhook"]["grace_until"].is_string());
    let at = got.header("keyledger-position");
    let past = bench.call(&bench.token, "GET", &format!("{path}?as_of={at}"), Value::Null).await;
    assert_eq!(past.body, got.body, "as it was");
    assert_eq!(bench.call(&bench.token, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(bench.call(&bench.token, "GET", &path, Value::Null).await.status, 404);
    let history = bench.call(&bench.token, "GET", &format!("{path}/history"), Value::Null).await;
    let types: Vec<&Value> = history.body["data"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["deleted", "rotated", "updated", "created"]);
    let told = bench.all_that_is_told().await;
    assert!([&secret, &rotated.text("secret")].iter().all(|secret| !told.contains(&secret[6..])), "no event holds a secret");
    let reveal = json!({"credential": id, "secret": "secret", "reason": "a test"});
    assert_eq!(bench.call(&bench.token, "POST", "/v1/secrets/reveal", reveal).await.status, 404);
}

#[tokio::test]
async fn a_wrong_webhook_is_told_what_is_wrong_with_it() {
    let bench = ServedBench::new().await;
    let hook = |change: fn(&mut Value)| {
        let mut body = body("https://example.com/hook");
        change(&mut body);
        body
    };
    let cases: [(Value, &str); 9] = [
        (hook(|body| body["url"] = json!("http://example.com/")), "#/url"),
        (hook(|body| body["url"] = json!("https://10.0.0.1/")), "#/url"),
        (hook(|body| body["url"] = json!("https://localhost/")), "#/url"),
        (hook(|body| body["url"] = json!("https://ann@example.com/")), "#/url"),
        (hook(|body| body["url"] = json!("ftp://example.com/")), "#/url"),
        (hook(|body| body["url"] = json!(format!("https://example.com/{}", "x".repeat(4096)))), "#/url"),
        (hook(|body| body["events"] = json!([])), "#/events"),
        (hook(|body| body["events"] = json!(["*", "vault.connection.invented"])), "#/events/1"),
        (hook(|body| body["description"] = json!("\u{0}")), "#/description"),
    ];
    for (body, pointer) in cases {
        let told = bench.call(&bench.token, "POST", HOOKS, body.clone()).await;
        assert_eq!((told.status, &told.body["errors"][0]["pointer"]), (400, &json!(pointer)), "{body}");
    }
    for body in [json!({}), json!({"url": 1}), json!({"url": "https://example.com/", "secret": "whsec_x"}), json!([])] {
        assert_eq!(bench.call(&bench.token, "POST", HOOKS, body).await.status, 400);
    }
    let made = bench.call(&bench.token, "POST", HOOKS, body("https://example.com/hook")).await;
    let path = format!("{HOOKS}/{}", made.body["webhook"]["id"].as_str().unwrap());
    for (route, body) in [
        ("", json!({"url": "http://127.0.0.1/"})),
        ("", json!({"id": "x"})),
        ("/rotate", json!({"grace_seconds": 604_801})),
        ("/replay", json!({"positions": [1], "from": 1})),
        ("/replay", json!({"positions": [1]})),
        ("/replay", json!({"from": 1})),
        ("/replay", json!({"from": 999_999})),
    ] {
        let method = if route.is_empty() { "PATCH" } else { "POST" };
        assert_eq!(bench.call(&bench.token, method, &format!("{path}{route}"), body.clone()).await.status, 400, "{route} {body}");
    }
}

#[tokio::test]
async fn at_most_sixteen_are_there_however_many_are_made_at_once() {
    let bench = ServedBench::new().await;
    let make = || bench.call(&bench.token, "POST", HOOKS, body("https://example.com/hook"));
    let statuses: Vec<u16> = futures_util::future::join_all((0..40).map(|_| make())).await.into_iter().map(|told| told.status).collect();
    let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
    // Those that were busy may try again, and then see the limit as well.
    assert!(count(201) <= 16 && count(201) + count(409) + count(422) + count(503) == 40, "{statuses:?}");
    for _ in 0..17 {
        make().await;
    }
    let list = bench.call(&bench.token, "GET", &format!("{HOOKS}?limit=200"), Value::Null).await;
    let all = list.body["data"].as_array().unwrap();
    assert_eq!(all.len(), 16);
    let path = format!("{HOOKS}/{}", all[0]["id"].as_str().unwrap());
    assert_eq!(bench.call(&bench.token, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!((make().await.status, make().await.status == 201), (201, false), "a seat is free again, one");
    let (_, other) = bench.tenant("other").await;
    assert_eq!(bench.call(&other, "POST", HOOKS, body("https://example.com/hook")).await.status, 201, "every tenant has its own seats");
    assert_eq!(bench.call(&other, "GET", &path, Value::Null).await.status, 404);
}

#[tokio::test]
async fn nobody_is_told_more_by_a_webhook_than_they_may_see() {
    let bench = ServedBench::new().await;
    let made = bench.call(&bench.token, "POST", HOOKS, body("https://example.com/hook")).await;
    let path = format!("{HOOKS}/{}", made.body["webhook"]["id"].as_str().unwrap());
    let blind = bench.key(None, &["webhooks:write", "webhooks:read"]).await;
    let narrow = json!({"name": "narrow", "permissions": ["webhooks:write", "connections:read"], "app_ids": ["app"]});
    let narrow = bench.call(&bench.token, "POST", "/v1/api-keys", narrow).await.text("token");
    for token in [&blind, &narrow] {
        let replay = format!("{path}/replay");
        let rotate = format!("{path}/rotate");
        for (method, path, body) in [
            ("POST", HOOKS, body("https://example.com/")),
            ("PATCH", &path, json!({"enabled": true})),
            ("POST", &rotate, json!({})),
            ("POST", &replay, json!({})),
        ] {
            assert_eq!(bench.call(token, method, path, body).await.status, 403, "{method} {path}");
        }
    }
    assert_eq!(bench.call(&narrow, "DELETE", &path, Value::Null).await.status, 403, "it serves other applications too");
    assert_eq!(bench.call(&blind, "GET", &path, Value::Null).await.status, 200);
    let reader = bench.key(None, &["webhooks:read"]).await;
    assert_eq!(bench.call(&reader, "DELETE", &path, Value::Null).await.status, 403);
}

#[tokio::test]
async fn a_webhook_is_tried_out_and_dead_letters_are_listed_page_by_page() {
    let (bench, endpoint) = (ServedBench::with_egress(&["127.0.0.0/8"]).await, Endpoint::start().await);
    let made = bench.call(&bench.token, "POST", HOOKS, json!({"url": endpoint.url(), "enabled": false})).await;
    let (id, secret) = (made.body["webhook"]["id"].as_str().unwrap().to_owned(), made.text("secret"));
    let path = format!("{HOOKS}/{id}");
    endpoint.next([crate::webhook_bench::status(200), crate::webhook_bench::status(404), crate::webhook_bench::status(410)]);
    for (delivered, status) in [(true, 200), (false, 404), (false, 410)] {
        let tried = bench.call(&bench.token, "POST", &format!("{path}/test"), Value::Null).await;
        assert_eq!((&tried.body["delivered"], &tried.body["status"]), (&json!(delivered), &json!(status)));
        let came = endpoint.take().pop().unwrap();
        assert!(came.is_signed_with(&secret) && came.id() == tried.text("message_id"));
        assert_eq!((came.told().as_str(), &came.payload()["entity_id"]), ("ping", &json!(id)));
    }
    let history = bench.call(&bench.token, "GET", &format!("{path}/history?limit=1"), Value::Null).await;
    assert_eq!(history.body["data"][0]["facts"], json!({"tested": {"status": 410, "cause": "the endpoint answered 410 Gone"}}));
    bench.give_up(&id, 30).await;
    let (mut cursor, mut letters) = (String::new(), Vec::new());
    loop {
        let page = bench.call(&bench.token, "GET", &format!("{path}/dead-letters?limit=7{cursor}"), Value::Null).await;
        let data = page.body["data"].as_array().unwrap();
        assert!(data.len() <= 7);
        letters.extend(data.iter().map(|letter| (letter["position"].as_u64().unwrap(), letter["event_type"].as_str().unwrap().to_owned())));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let unique: std::collections::BTreeSet<_> = letters.iter().collect();
    assert!(letters.len() == 60 && unique.len() == 60 && letters.is_sorted_by_key(|(position, _)| *position), "two tell of each event");
    let replayed = bench.call(&bench.token, "POST", &format!("{path}/replay"), json!({"positions": [letters[0].0]})).await;
    assert_eq!((&replayed.body["delivery"]["dead"], &replayed.body["delivery"]["replaying"]), (&json!(58), &json!(2)));
    let replayed = bench.call(&bench.token, "POST", &format!("{path}/replay"), Value::Null).await;
    assert_eq!((&replayed.body["delivery"]["dead"], &replayed.body["delivery"]["replaying"]), (&json!(0), &json!(60)));
}
