//! The exposure report, told as stories: who could read a secret while it was in use, who did, what came of it and what to change.

use keyledger::credentials::connection::{Command, Outcome, Tokens, Want};
use keyledger::kernel::{Builtin, RoleRef, Secret, StreamId};
use keyledger::vault::plans;
use serde_json::{Value, json};

use crate::served_vault::{ServedBench, Told};

const CONNECTION: &str = "/vault/connections/crm/pipedrive";

async fn vault(bench: &ServedBench, token: &str, method: &str, path: &str, body: Value) -> Told {
    let request = bench.request(method, path).bearer_auth(token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme");
    bench.send(if body.is_null() { request } else { request.json(&body) }).await
}

async fn report(bench: &ServedBench, id: &str, query: &str) -> Value {
    let told = bench.call(&bench.token, "GET", &format!("/v1/credentials/{id}/exposure?{query}"), Value::Null).await;
    assert_eq!(told.status, 200, "{query}: {}", told.body);
    assert!(!told.body.to_string().contains("canary"), "no secret stands in a report");
    told.body
}

/// The holder of a name.
fn holder<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    report["could"].as_array().unwrap().iter().find(|holder| holder["name"] == name)
}

/// What was done, and with which secrets.
fn deeds(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names = |deed: &Value| deed["secrets"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(" ");
    report["did"].as_array().unwrap().iter().map(|deed| (text(&deed["how"]), names(deed))).collect()
}

async fn reveal(bench: &ServedBench, token: &str, id: &str, secret: &str, reason: &str) -> u16 {
    bench.call(token, "POST", "/v1/secrets/reveal", json!({"credential": id, "secret": secret, "reason": reason})).await.status
}

/// The service gave new tokens for the refresh token; gives the positions of intent and result.
async fn renew(bench: &ServedBench, stream: StreamId, number: u8) -> (u64, u64) {
    let before = bench.vault.views().position().0;
    bench.execute(|given| plans::on_connection(given, stream, Command::StartExchange(Want::Renew))).await;
    let intent = keyledger::kernel::Position(before + 1);
    let came = || Tokens {
        access: Some(Secret::from(format!("canary-access-{number}").as_str())),
        refresh: Some(Secret::from(format!("canary-refresh-{number}").as_str())),
        ..Tokens::default()
    };
    let finish = || Command::FinishExchange { intent, outcome: Outcome::Tokens(came()), confirm: None };
    bench.execute(|given| plans::on_connection(given, stream, finish())).await;
    (intent.0, bench.vault.views().position().0)
}

/// The tenant's OAuth client at the service.
async fn client(bench: &ServedBench) {
    let settings = json!({"settings": {"client_id": "an id", "client_secret": "canary-client"}});
    assert_eq!(bench.call(&bench.token, "PUT", "/v1/integrations/crm/pipedrive", settings).await.status, 200);
}

async fn connection(bench: &ServedBench) -> String {
    let body = json!({"credentials": {"access_token": "canary-access-0", "refresh_token": "canary-refresh-0"}});
    assert_eq!(vault(bench, &bench.token, "POST", &format!("{CONNECTION}/import"), body).await.status, 200);
    bench.call(&bench.token, "GET", "/v1/credentials?kind=connection", Value::Null).await.body["data"][0]["id"].as_str().unwrap().to_owned()
}

/// What the story below did.
struct Shown<'a> {
    revealed: u64,
    key: &'a Value,
    first: (u64, u64),
    second: (u64, u64),
}

fn what_was_done(told: &Value, story: &Shown<'_>) {
    // Who did.
    let one = |how: &str| (how.to_owned(), "refresh_token".to_owned());
    assert_eq!(deeds(told), [one("brought"), one("revealed"), one("exchanged")]);
    let shown = &told["did"][1];
    assert_eq!(
        (&shown["position"], &shown["meta"]["reason"], &shown["meta"]["rule"]),
        (&json!(story.revealed), &json!("support case 4711"), &json!("role:support"))
    );
    assert_eq!(shown["actor"], *story.key);
    assert_eq!(told["did"][2]["position"], story.first.0);
    // What came of it.
    let tree: Vec<(&Value, &Value)> = told["tokens"].as_array().unwrap().iter().map(|token| (&token["position"], &token["refresh_token"]["fate"])).collect();
    assert_eq!(tree, [(&json!(story.first.1), &json!("superseded")), (&json!(story.second.1), &json!("current"))]);
    let calls: Vec<&Value> = told["rotate"].as_array().unwrap().iter().map(|todo| &todo["call"]).collect();
    assert_eq!(calls, [&json!(format!("GET {CONNECTION}")), &json!(format!("GET {CONNECTION}"))]);
    assert!(told["rotate"][0]["what"].as_str().unwrap().contains("2 exchanges"));
    assert!(!told["not_recorded"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_refresh_token_that_was_revealed_before_the_role_was_taken_away() {
    let bench = ServedBench::new().await;
    let role = bench.role("support", &["secrets:reveal", "connections:proxy"]).await;
    let (sue, sues_key) = bench.user("sue", &[role], None).await;
    bench.user("ann", &[RoleRef::Builtin(Builtin::Operator)], None).await;
    bench.user("bob", &[RoleRef::Builtin(Builtin::Reader)], None).await;
    client(&bench).await;
    bench.clock.pass(60_000);
    let id = connection(&bench).await;
    let begun = bench.vault.now().to_string();
    bench.clock.pass(60_000);
    assert_eq!(reveal(&bench, &sues_key, &id, "refresh_token", "support case 4711").await, 200);
    let revealed = bench.vault.views().position().0;
    assert_eq!(reveal(&bench, &bench.token, &id, "access_token", "another secret").await, 200);
    bench.clock.pass(60_000);
    let path = format!("/v1/roles/{}", role.id());
    assert_eq!(bench.call(&bench.token, "PATCH", &path, json!({"permissions": ["connections:proxy"]})).await.status, 200);
    let (taken, taken_at) = (bench.vault.views().position().0, bench.vault.now().to_string());
    assert_eq!(reveal(&bench, &sues_key, &id, "refresh_token", "once more").await, 403);
    bench.clock.pass(60_000);
    let stream: StreamId = id.parse().unwrap();
    let first = renew(&bench, stream, 1).await;
    let ended = bench.vault.now().to_string();
    bench.clock.pass(60_000);
    // Zoe comes when the secret is not in use any more; what the second exchange presents came of the first.
    bench.user("zoe", &[RoleRef::Builtin(Builtin::Owner)], None).await;
    let second = renew(&bench, stream, 2).await;

    let told = report(&bench, &id, "version=2&name=refresh_token").await;
    assert_eq!((&told["in_use_from"], &told["in_use_to"], &told["version"], &told["kind"]), (&json!(begun), &json!(ended), &json!(2), &json!("connection")));
    let secret = &told["secrets"][0];
    assert_eq!((&secret["name"], &secret["ended_by"], &secret["ended_at"]), (&json!("refresh_token"), &json!("exchanged"), &json!(first.1)));
    // Who could.
    let of_sue = holder(&told, "sue").unwrap();
    assert_eq!((&of_sue["id"], &of_sue["reads"]), (&json!(sue.to_string()), &json!(true)));
    let permissions = |span: usize| &of_sue["spans"][span]["permissions"];
    assert_eq!((permissions(0), permissions(1)), (&json!(["secrets:reveal", "connections:proxy"]), &json!(["connections:proxy"])));
    assert_eq!((&of_sue["spans"][0]["from"], &of_sue["spans"][0]["to"], &of_sue["spans"][0]["ended_by"]), (&json!(begun), &json!(taken_at), &json!(taken)));
    assert_eq!((&of_sue["spans"][0]["rules"], &of_sue["spans"][1]["to"]), (&json!(["role:support"]), &Value::Null));
    let of_key = told["could"].as_array().unwrap().iter().find(|holder| holder["user"] == json!(sue.to_string())).unwrap();
    assert_eq!(of_key["spans"][0]["ended_by"], taken, "her key could what she could");
    let of_ann = holder(&told, "ann").unwrap();
    assert_eq!((&of_ann["reads"], of_ann["spans"].as_array().unwrap().len()), (&json!(false), 1), "used unseen");
    assert!(of_ann["spans"][0]["permissions"].as_array().unwrap().contains(&json!("connections:exchange")));
    assert!(holder(&told, "bob").is_none() && holder(&told, "zoe").is_none(), "a reader never, and who came later");
    assert_eq!(holder(&told, "owner's first key").unwrap()["reads"], true);
    let shown = Shown { revealed, key: &of_key["id"], first, second };
    what_was_done(&told, &shown);

    // As it was told before the second exchange, and before anything came of it.
    let earlier = report(&bench, &id, &format!("version=2&name=refresh_token&as_of={}", first.1)).await;
    assert_eq!(earlier["tokens"].as_array().unwrap().len(), 1);
    let earlier = report(&bench, &id, &format!("version=2&name=refresh_token&as_of={}", revealed - 1)).await;
    assert_eq!((deeds(&earlier).len(), &earlier["in_use_to"]), (1, &Value::Null));
    // The version in use, when none is named; and all secrets of a version together.
    let now = report(&bench, &id, "").await;
    assert_eq!((now["secrets"].as_array().unwrap().len(), &now["in_use_to"], &now["tokens"]), (2, &Value::Null, &json!([])));
    assert_eq!(holder(&now, "zoe").unwrap()["reads"], true);
    let both = report(&bench, &id, "version=2").await;
    assert!(deeds(&both).contains(&("revealed".into(), "access_token".into())), "{both}");
}

#[tokio::test]
async fn who_may_see_a_report_and_of_what() {
    let bench = ServedBench::new().await;
    let id = connection(&bench).await;
    let path = format!("/v1/credentials/{id}/exposure");
    for half in ["audit:read", "history:read"] {
        let key = bench.key(None, &[half, "secrets:reveal"]).await;
        assert_eq!(bench.call(&key, "GET", &path, Value::Null).await.status, 403, "{half} is not enough");
    }
    let both = bench.key(None, &["audit:read", "history:read"]).await;
    assert_eq!(bench.call(&both, "GET", &path, Value::Null).await.status, 200);
    let (_, stranger) = bench.tenant("stranger").await;
    let foreign = bench.call(&stranger, "GET", &path, Value::Null).await;
    let missing = bench.call(&stranger, "GET", &format!("/v1/credentials/{}/exposure", "0".repeat(32)), Value::Null).await;
    assert_eq!((foreign.status, foreign.body), (404, missing.body));
    let narrow =
        bench.call(&bench.token, "POST", "/v1/api-keys", json!({"name": "n", "permissions": ["audit:read", "history:read"], "app_ids": ["other"]})).await;
    assert_eq!(bench.call(&narrow.text("token"), "GET", &path, Value::Null).await.status, 404, "of an application that it may not name");
    let (user, _) = bench.user("ann", &[], None).await;
    for (path, status) in [
        (format!("/v1/credentials/{user}/exposure"), 404),
        (format!("{path}?version=99"), 404),
        (format!("{path}?version=1"), 404),
        (format!("{path}?name=nothing"), 404),
        (format!("{path}?version=x"), 400),
        (format!("{path}?versions=2"), 400),
        (format!("{path}?as_of=99999999"), 400),
    ] {
        assert_eq!(bench.call(&bench.token, "GET", &path, Value::Null).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_api_clients_secret_a_blocked_user_and_one_whose_key_ended_by_itself() {
    let bench = ServedBench::new().await;
    let ends = bench.vault.now().plus_seconds(90);
    let body = json!({"name": "temporary", "permissions": ["secrets:reveal", "api-clients:reveal"], "expires_at": ends});
    assert_eq!(bench.call(&bench.token, "POST", "/v1/api-keys", body).await.status, 201);
    let (eve, _) = bench.user("eve", &[RoleRef::Builtin(Builtin::Owner)], None).await;
    let made = bench.call(&bench.token, "POST", "/local-user-store/api/v1/api-clients", json!({"name": "backup", "roles": []})).await;
    let id = made.text("id").replace('-', "");
    bench.clock.pass(60_000);
    let read = bench.call(&bench.token, "GET", &format!("/local-user-store/api/v1/api-clients/{id}"), Value::Null).await;
    let (secret, oauth) = (read.text("secret"), read.text("oauth_client_secret"));
    assert_eq!(bench.call(&bench.token, "PATCH", &format!("/v1/users/{eve}"), json!({"blocked": true})).await.status, 200);
    let blocked = bench.vault.now().to_string();
    bench.clock.pass(60_000);
    assert_eq!(bench.call(&bench.token, "POST", &format!("/v1/credentials/{id}/rotate"), json!({"grace_seconds": 600})).await.status, 200);
    let told = report(&bench, &id, "version=1").await;
    let text = told.to_string();
    assert!(!text.contains(&secret) && !text.contains(&oauth));
    let names: Vec<&Value> = told["secrets"].as_array().unwrap().iter().map(|secret| &secret["name"]).collect();
    assert_eq!(names, ["secret", "oauth_client_secret"]);
    assert_eq!(told["secrets"][0]["to"], json!(bench.vault.now().plus_seconds(600)), "it works on through the overlap");
    assert_eq!(deeds(&told)[1], ("revealed".into(), "secret oauth_client_secret".into()), "a single GET shows both");
    let of_eve = &holder(&told, "eve").unwrap()["spans"];
    assert_eq!((of_eve.as_array().unwrap().len(), &of_eve[0]["to"]), (1, &json!(blocked)));
    let temporary = &holder(&told, "temporary").unwrap()["spans"][0];
    assert_eq!((&temporary["to"], &temporary["ended_by"]), (&json!(ends), &Value::Null), "it ended by itself");
    assert_eq!(told["rotate"][0]["call"], format!("POST /v1/credentials/{id}/rotation/finish"));
    assert_eq!(bench.call(&bench.token, "POST", &format!("/v1/credentials/{id}/rotation/finish"), Value::Null).await.status, 200);
    let over = report(&bench, &id, "version=1").await;
    assert_eq!((&over["rotate"], &over["secrets"][0]["to"]), (&json!([]), &json!(bench.vault.now())));
}

#[tokio::test]
async fn what_is_only_recognised_tells_its_uses_and_what_a_setting_was_exchanged_for() {
    let bench = ServedBench::new().await;
    let made = bench.call(&bench.token, "POST", "/v1/applications", json!({"name": "billing", "roles": ["app"]})).await;
    let (id, secret) = (made.body["application"]["id"].as_str().unwrap().to_owned(), made.text("client_secret"));
    for _ in 0..3 {
        let form = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
        assert_eq!(bench.send(bench.request("POST", "/v1/oauth/token").form(&form)).await.status, 200);
    }
    bench.vault.write_usage().await.unwrap();
    let told = report(&bench, &id, "").await;
    assert_eq!(told["secrets"][0]["name"], "client_secret");
    assert_eq!(told["could"], json!([]), "nobody can read what is not kept");
    assert_eq!((told["did"][1]["how"].as_str(), told["did"][1]["count"].as_u64(), told["did"][1].get("actor")), (Some("used"), Some(3), None));
    assert_eq!(told["rotate"][0]["call"], format!("POST /v1/credentials/{id}/rotate"));

    client(&bench).await;
    let connection = connection(&bench).await;
    let (intent, _) = renew(&bench, connection.parse().unwrap(), 1).await;
    let listed = bench.call(&bench.token, "GET", "/v1/credentials?kind=integration", Value::Null).await;
    let told = report(&bench, listed.body["data"][0]["id"].as_str().unwrap(), "name=settings.client_secret").await;
    let used = &told["did"][1];
    assert_eq!((&used["how"], &used["position"], &used["connection"]), (&json!("exchanged"), &json!(intent), &json!(connection)));
    assert_eq!(told["rotate"][1]["call"], "PATCH /v1/integrations/crm/pipedrive");
}
