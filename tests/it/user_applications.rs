//! The user applications surface over HTTP: what each route takes, answers and refuses.

use keyledger::credentials::user::Changes;
use keyledger::kernel::{Builtin, RoleRef};
use serde_json::{Value, json};

use crate::served_vault::{ServedBench, Told};

const OWN: &str = "/api/v1/user-applications";
const ALL: &str = "/api/v1/administration/user-applications";

fn role(builtin: Builtin) -> RoleRef {
    RoleRef::Builtin(builtin)
}

fn message(told: &Told, status: u16) -> String {
    assert_eq!((told.status, &told.body["code"]), (status, &json!(status)), "{}", told.body);
    told.text("message")
}

async fn create(bench: &ServedBench, token: &str, name: &str) -> Told {
    let made = bench.call(token, "POST", OWN, json!({"name": name})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made
}

async fn access(bench: &ServedBench, made: &Told) -> Told {
    bench.call("", "POST", "/api/v1/token", json!({"grantType": "app_token", "AppId": made.text("clientId"), "AppSecret": made.text("secret")})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_lives_as_the_vendors_clients_expect() {
    let bench = ServedBench::new().await;
    let (_, ann) = bench.user("ann", &[role(Builtin::Reader)], None).await;
    let made = create(&bench, &ann, "my-app").await;
    assert_eq!(made.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["clientId", "createdAt", "id", "name", "secret"]);
    assert!(made.text("id") == made.text("clientId") && !made.text("id").contains('_') && made.text("secret").starts_with("klapp_"));
    let path = format!("{OWN}/{}", made.text("id"));
    let got = bench.call(&ann, "GET", &path, Value::Null).await;
    let expected = json!({"id": made.body["id"], "clientId": made.body["id"], "name": "my-app", "createdAt": made.body["createdAt"], "lastLogin": null});
    assert_eq!((got.status, &got.body), (200, &expected));
    assert_eq!(bench.call(&ann, "GET", OWN, Value::Null).await.body, json!([expected]));
    assert_eq!(bench.call(&ann, "GET", &format!("{OWN}?"), Value::Null).await.status, 200, "the vendor's client sends a bare ?");
    // Its token acts as its user, with the user's roles as they are then.
    let token = access(&bench, &made).await.text("accessToken");
    assert_eq!(bench.call(&token, "GET", OWN, Value::Null).await.body[0]["name"], "my-app");
    assert_eq!(bench.call(&token, "GET", "/v1/events", Value::Null).await.status, 403);
    let (ann_id, _) = bench.vault.views().user_named(crate::vault_bench::TENANT, "ann").map(|(id, user)| (id, user.blocked)).unwrap();
    bench.change_user(ann_id, Changes { roles: Some(vec![role(Builtin::Auditor)]), ..Changes::default() }).await;
    assert_eq!(bench.request("GET", "/v1/events").bearer_auth(&token).send().await.unwrap().status(), 200);
    // The last exchange, which is no call.
    let login = bench.call(&ann, "GET", &path, Value::Null).await.text("lastLogin");
    bench.clock.pass(10_000);
    bench.call(&token, "GET", OWN, Value::Null).await;
    assert_eq!(bench.call(&ann, "GET", &path, Value::Null).await.text("lastLogin"), login);
    access(&bench, &made).await;
    let later = bench.call(&ann, "GET", &path, Value::Null).await.text("lastLogin");
    assert!(later > login);
    // What is not written yet is no part of the past; what is written is.
    let now = bench.vault.views().position().0;
    assert_eq!(bench.call(&ann, "GET", &format!("{path}?as_of={now}"), Value::Null).await.body["lastLogin"], Value::Null);
    bench.vault.write_usage().await.unwrap();
    let now = bench.vault.views().position().0;
    assert_eq!(bench.call(&ann, "GET", &format!("{path}?as_of={now}"), Value::Null).await.text("lastLogin"), later);
    // A new secret, and the end.
    let new = bench.call(&ann, "POST", &format!("{path}/secret"), Value::Null).await;
    assert_eq!((new.status, &new.body["secret"]), (200, &new.body["clientSecret"]));
    assert_ne!(new.body["secret"], made.body["secret"]);
    assert_eq!(new.body.as_object().unwrap().len(), 2);
    assert_eq!(bench.call(&token, "GET", OWN, Value::Null).await.status, 401, "ended at the very next request");
    let told = bench.all_that_is_told().await + &bench.call(&ann, "GET", OWN, Value::Null).await.body.to_string();
    for secret in [made.text("secret"), new.text("secret"), token] {
        assert!(!told.contains(secret.split(['_', '.']).nth(2).unwrap()), "a secret stands where it should not");
    }
    let gone = bench.call(&ann, "DELETE", &path, Value::Null).await;
    assert_eq!((gone.status, &gone.body), (204, &Value::Null));
    for (method, below) in [("GET", ""), ("DELETE", ""), ("POST", "/secret")] {
        assert_eq!(message(&bench.call(&ann, method, &format!("{path}{below}"), Value::Null).await, 404), "Resource id not found.");
    }
    assert_eq!(bench.call(&ann, "GET", &format!("{path}?as_of={now}"), Value::Null).await.text("name"), "my-app");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_seats_and_errors() {
    let bench = ServedBench::new().await;
    let (_, ann) = bench.user("ann", &[role(Builtin::Reader)], None).await;
    let (_, bob) = bench.user("bob", &[role(Builtin::Reader)], None).await;
    for bad in ["", "a", "A-b", "-ab", "ab-", "1ab", "a b", "a.b", "ab\n", "äb", &"a".repeat(129)] {
        assert_eq!(message(&bench.call(&ann, "POST", OWN, json!({"name": bad})).await, 400), "Bad request", "{bad:?}");
    }
    assert_eq!(message(&bench.call(&ann, "POST", OWN, json!({})).await, 400), "Required parameter is missing");
    assert_eq!(message(&bench.call(&ann, "POST", OWN, Value::Null).await, 400), "Required parameter is missing");
    for body in [r#"{"name": ["canary"]}"#, r#"{"name": "ab", "canary": 1}"#, r#"{"name": "ab", "name": "canary"}"#, "canary", r#"["canary"]"#] {
        let refused = bench.send(bench.request("POST", OWN).bearer_auth(&ann).body(body)).await;
        assert_eq!(message(&refused, 400), "Bad request", "{body}");
        assert!(!refused.body.to_string().contains("canary"), "{}", refused.body);
    }
    let large = bench.send(bench.request("POST", OWN).bearer_auth(&ann).body("x".repeat(70_000))).await;
    message(&large, 413);
    create(&bench, &ann, "a-b_c9").await;
    assert_eq!(message(&bench.call(&ann, "POST", OWN, json!({"name": "a-b_c9"})).await, 409), "Resource with this name already exists");
    create(&bench, &bob, "a-b_c9").await;
    let mut ids = Vec::new();
    for number in 1..20 {
        ids.push(create(&bench, &ann, &format!("app-{number}")).await.text("id"));
    }
    let full = bench.call(&ann, "POST", OWN, json!({"name": "one-more"})).await;
    assert_eq!(message(&full, 409), "The limit is reached");
    assert!(full.text("details").contains("20"), "{}", full.body);
    assert_eq!(bench.call(&ann, "DELETE", &format!("{OWN}/{}", ids[7]), Value::Null).await.status, 204);
    create(&bench, &ann, "one-more").await;
    message(&bench.call(&ann, "POST", OWN, json!({"name": "app-8"})).await, 409);
    let listed = bench.call(&ann, "GET", OWN, Value::Null).await;
    let names: Vec<&str> = listed.body.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0], names[19]), (20, "a-b_c9", "one-more"), "in the order in which they were made");
    assert_eq!(bench.call(&ann, "POST", &format!("{OWN}/{}/secret", ids[0]), json!({"x": 1})).await.status, 400);
    for (method, path) in [("PUT", OWN), ("GET", "/api"), ("POST", "/api/v2/token"), ("GET", "/api/v1/access-keys"), ("GET", "/api/v1/token"), ("POST", ALL)] {
        assert_eq!(message(&bench.call(&ann, method, path, Value::Null).await, 404), "Unknown route", "{method} {path}");
    }
    message(&bench.call(&bench.token, "GET", &format!("{OWN}?as_of=x"), Value::Null).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_their_own_and_administrators_all() {
    let bench = ServedBench::new().await;
    let owner = bench.token.clone();
    let (_, ann) = bench.user("ann", &[role(Builtin::Reader)], None).await;
    let (_, bob) = bench.user("bob", &[role(Builtin::Operator)], None).await;
    let (_, nothing) = bench.user("nothing", &[], None).await;
    let (_, stranger) = bench.tenant("strangers").await;
    let of_ann = create(&bench, &ann, "app-one").await.text("id");
    let of_bob = create(&bench, &bob, "app-two").await.text("id");
    let of_owner = create(&bench, &owner, "app-three").await.text("id");
    // Another user's is as if it were not there: for an administrator, too, on the user's routes, and for another tenant.
    for token in [&bob, &owner, &stranger] {
        for (method, below) in [("GET", ""), ("DELETE", ""), ("POST", "/secret")] {
            let theirs = bench.call(token, method, &format!("{OWN}/{of_ann}{below}"), Value::Null).await;
            let missing = bench.call(token, method, &format!("{OWN}/00112233-4455-6677-8899-aabbccddeeff{below}"), Value::Null).await;
            message(&theirs, 404);
            assert_eq!(theirs.body, missing.body);
        }
    }
    let all = bench.call(&owner, "GET", ALL, Value::Null).await;
    let rows = all.body.as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["createdBy"].as_str().unwrap()).collect::<Vec<_>>(), ["ann@example.com", "bob@example.com", "owner"]);
    assert_eq!(rows[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["clientId", "createdAt", "createdBy", "id", "lastLogin", "name"]);
    let found = async |query: &str| {
        let told = bench.call(&bob, "GET", &format!("{ALL}{query}"), Value::Null).await;
        told.body.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&format!("?clientId={of_bob}")).await, [of_bob.as_str()]);
    assert_eq!(found("?clientId=x").await.len(), 0);
    assert_eq!(found("?createdBy=Ann%40example.com").await, [of_ann.as_str()]);
    assert_eq!(found("?createdBy=owner").await, [of_owner.as_str()]);
    assert_eq!(found(&format!("?createdBy=ann@example.com&clientId={of_bob}")).await.len(), 0);
    assert_eq!(found("?clientId=&createdBy=").await.len(), 3);
    assert_eq!(bench.call(&stranger, "GET", ALL, Value::Null).await.body, json!([]));
    // Who lacks the permission; who is no user; who is nobody.
    message(&bench.call(&ann, "GET", ALL, Value::Null).await, 403);
    message(&bench.call(&ann, "DELETE", &format!("{ALL}/{of_bob}"), Value::Null).await, 403);
    for (method, path) in [
        ("GET", OWN.to_owned()),
        ("POST", OWN.to_owned()),
        ("GET", format!("{OWN}/{of_ann}")),
        ("DELETE", format!("{OWN}/{of_ann}")),
        ("POST", format!("{OWN}/{of_ann}/secret")),
    ] {
        assert_eq!(message(&bench.call(&nothing, method, &path, Value::Null).await, 403), "You do not have sufficient permissions.");
        let machine = bench.key(None, &["user-applications:own"]).await;
        let refused = bench.call(&machine, method, &path, Value::Null).await;
        assert_eq!((message(&refused, 403), refused.text("details")), ("You do not have sufficient permissions.".into(), "the token acts as no user".into()));
        let nobody = bench.call("x", method, &path, Value::Null).await;
        assert_eq!((message(&nobody, 401), nobody.header("www-authenticate")), ("Issuer is not familiar.".into(), "Bearer"));
    }
    // An administrator deletes anybody's that does not act as somebody who may do more.
    message(&bench.call(&bob, "DELETE", &format!("{ALL}/{of_owner}"), Value::Null).await, 403);
    assert_eq!(bench.call(&bob, "DELETE", &format!("{ALL}/{of_ann}"), Value::Null).await.status, 204);
    message(&bench.call(&bob, "DELETE", &format!("{ALL}/{of_ann}"), Value::Null).await, 404);
    message(&bench.call(&stranger, "DELETE", &format!("{ALL}/{of_bob}"), Value::Null).await, 404);
    assert_eq!(bench.call(&owner, "DELETE", &format!("{ALL}/{of_owner}"), Value::Null).await.status, 204);
    let position = all.header("keyledger-position");
    assert_eq!(bench.call(&owner, "GET", &format!("{ALL}?as_of={position}"), Value::Null).await.body, all.body);
    assert_eq!(found("").await, [of_bob.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_that_want_one_name_one_gets_it() {
    let bench = ServedBench::new().await;
    let (_, ann) = bench.user("ann", &[role(Builtin::Reader)], None).await;
    let all = futures_util::future::join_all((0..200).map(|_| bench.call(&ann, "POST", OWN, json!({"name": "wanted"})))).await;
    let made = all.iter().filter(|told| told.status == 201).count();
    let taken = all.iter().filter(|told| told.status == 409 && told.body["message"] == "Resource with this name already exists").count();
    assert_eq!((made, taken), (1, 199));
    assert_eq!(bench.call(&ann, "GET", OWN, Value::Null).await.body.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_may_name_the_version_that_was_seen_and_be_sent_again() {
    let bench = ServedBench::new().await;
    let (_, ann) = bench.user("ann", &[role(Builtin::Reader)], None).await;
    let send = async |method: &str, path: &str, header: (&'static str, &str), body: Value| {
        let request = bench.request(method, path).bearer_auth(&ann).header(header.0, header.1);
        bench.send(if body.is_null() { request } else { request.json(&body) }).await
    };
    let key = ("idempotency-key", "k1");
    let made = send("POST", OWN, key, json!({"name": "once"})).await;
    let same = send("POST", OWN, key, json!({"name": "once"})).await;
    assert_eq!((made.status, same.status, &made.body), (201, 201, &same.body), "the secret, too");
    assert_eq!(access(&bench, &same).await.status, 200);
    message(&send("POST", OWN, key, json!({"name": "twice"})).await, 422);
    let path = format!("{OWN}/{}", made.text("id"));
    assert_eq!(bench.call(&ann, "GET", &path, Value::Null).await.header("etag"), made.header("etag"));
    message(&send("DELETE", &path, ("if-match", "\"9\""), Value::Null).await, 412);
    message(&send("POST", &format!("{path}/secret"), ("if-match", "\"9\""), Value::Null).await, 412);
    let new = send("POST", &format!("{path}/secret"), ("idempotency-key", "k2"), Value::Null).await;
    let again = send("POST", &format!("{path}/secret"), ("idempotency-key", "k2"), Value::Null).await;
    assert_eq!((new.status, &new.body), (200, &again.body));
    message(&send("DELETE", &path, ("if-match", made.header("etag")), Value::Null).await, 412);
    assert_eq!(send("DELETE", &path, ("if-match", new.header("etag")), Value::Null).await.status, 204);
}

#[test]
fn the_last_login_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = crate::served::start(folder.path(), "");
    let made: Value = server.call("POST", OWN).json(&json!({"name": "app"})).send().unwrap().json().unwrap();
    let body = json!({"grantType": "app_token", "AppId": made["id"], "AppSecret": made["secret"]});
    assert_eq!(server.call("POST", "/api/v1/token").json(&body).send().unwrap().status(), 200);
    let login = |server: &crate::served::Server| server.call("GET", OWN).send().unwrap().json::<Value>().unwrap()[0]["lastLogin"].clone();
    let before = login(&server);
    assert!(before.is_string());
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    server.child.wait().unwrap();
    let server = crate::served::start(folder.path(), &server.token);
    assert_eq!(login(&server), before);
}
