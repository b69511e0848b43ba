//! The API keys surface over HTTP: the life of a key, what lists are asked for, and what ends at the next request.

use keyledger::credentials::api_key::Grant;
use keyledger::kernel::Clock;
use keyledger::vault::plans;
use serde_json::{Value, json};

use crate::served_bench::{Came, ServedBench, came};

const KEYS: &str = "/api-keys";

fn new_key(name: &str) -> Value {
    json!({"name": name, "emails": ["ops@example.com"], "organizationsIds": [], "permissions": ["api-keys:read"]})
}

/// Makes a key; gives its number and its token.
async fn make(bench: &ServedBench, body: Value) -> (u64, String) {
    let made = bench.own("POST", KEYS, body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (made.body["id"].as_u64().unwrap(), made.body["token"]["value"].as_str().unwrap().to_owned())
}

async fn list(bench: &ServedBench, query: &str) -> Vec<Value> {
    let came = bench.own("GET", &format!("{KEYS}?{query}"), Value::Null).await;
    assert_eq!(came.status, 200, "{query}: {}", came.body);
    came.body.as_array().unwrap().clone()
}

fn names(keys: &[Value]) -> Vec<&str> {
    keys.iter().map(|key| key["name"].as_str().unwrap()).collect()
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn is_date(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z') && text.parse::<keyledger::kernel::Moment>().is_ok())
}

/// That an answer's token is whole, and is shown only if it should be.
fn check_token(token: &Value, shown: bool) {
    let short = token["short"].as_str().unwrap();
    assert!(is_date(&token["creationTimestamp"]) && short.len() == "klkey_00000000".len(), "{token}");
    assert_eq!(token["value"].as_str().is_some_and(|value| value.starts_with(short)), shown, "{token}");
    assert_eq!(token.as_object().unwrap().len(), if shown { 4 } else { 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_its_making_to_its_end_in_the_vendors_shapes() {
    let bench = ServedBench::start().await;
    let (one, two) = (bench.organization("Acme").await, bench.organization("Globex").await);
    let body = json!({"name": "backup", "emails": ["a@example.com", "b@example.com"], "organizationsIds": [one, two, one], "permissions": ["accessFtp", "editLabels"], "dnsName": "rec-01", "labels": ["night"]});
    let made = bench.own("POST", KEYS, body).await;
    assert_eq!((made.status, made.etag.as_deref()), (201, Some("\"1\"")));
    assert_eq!(members(&made.body), ["blocked", "creationTimestamp", "dnsName", "id", "name", "token", "updateTimestamp"]);
    check_token(&made.body["token"], true);
    assert!(is_date(&made.body["creationTimestamp"]) && made.body["updateTimestamp"].is_null() && made.body["token"]["lastUseTimestamp"].is_null());
    let number = made.body["id"].as_u64().unwrap();
    assert_eq!(Some(number), made.position, "its number is the position of its first event");
    let path = format!("{KEYS}/{number}");
    let got = bench.own("GET", &path, Value::Null).await;
    assert_eq!((got.status, got.etag.as_deref(), got.body.as_array().map(Vec::len)), (200, Some("\"1\""), Some(1)));
    let key = &got.body[0];
    assert_eq!(members(key), ["blocked", "creationTimestamp", "dnsName", "id", "name", "organizations", "token", "updateTimestamp"]);
    assert_eq!((&key["dnsName"], &key["name"], &key["blocked"], &key["id"]), (&json!("rec-01"), &json!("backup"), &json!(false), &json!(number)));
    assert_eq!(key["organizations"], json!([{"id": one, "name": "Acme"}, {"id": two, "name": "Globex"}]));
    check_token(&key["token"], false);
    // Each change, one by one; the answer has its shape, and updateTimestamp comes with the first.
    for change in [json!({"blocked": true}), json!({"blocked": false}), json!({"labels": ["day"]}), json!({"name": "new"}), json!({"organizationIds": [two]})] {
        let changed = bench.own("PATCH", &path, change).await;
        assert_eq!(members(&changed.body), ["blocked", "id", "isValid", "name", "token", "updateTimestamp"]);
        assert!(changed.status == 200 && is_date(&changed.body["updateTimestamp"]));
        assert_eq!(changed.body["isValid"], json!(changed.body["blocked"] == false));
        check_token(&changed.body["token"], false);
    }
    bench.own("PATCH", &path, json!({"email": ["c@example.com"], "permissions": ["editLabels"], "dnsName": null})).await;
    let key = bench.own("GET", &format!("{path}?optFields=emails,labels,permissions"), Value::Null).await.body[0].clone();
    assert_eq!((&key["emails"], &key["labels"], &key["permissions"]), (&json!(["c@example.com"]), &json!(["day"]), &json!(["editLabels"])));
    assert_eq!((&key["dnsName"], &key["name"]), (&Value::Null, &json!("new")));
    bench.delete_organization(two).await;
    assert_eq!(bench.own("GET", &path, Value::Null).await.body[0]["organizations"], json!([]), "a deleted organisation is left out");
    let deleted = bench.own("DELETE", &path, Value::Null).await;
    assert_eq!((deleted.status, deleted.body), (200, Value::Null));
    for method in ["GET", "DELETE"] {
        assert_eq!(bench.own(method, &path, Value::Null).await.status, 404);
    }
    assert_eq!(bench.own("PATCH", &path, json!({"name": "x"})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_refreshing_and_deleting_end_a_token_at_its_next_request() {
    let bench = ServedBench::start().await;
    let (number, token) = make(&bench, new_key("a key")).await;
    let path = format!("{KEYS}/{number}");
    let opens = async |token: &str| bench.send(token, "GET", &path, Value::Null).await.status == 200;
    let used = || async { bench.own("GET", &path, Value::Null).await.body[0]["token"]["lastUseTimestamp"].clone() };
    assert!(used().await.is_null());
    assert!(opens(&token).await && is_date(&used().await), "its use is seen at once");
    assert_eq!(bench.send(&token, "POST", KEYS, new_key("another")).await.status, 403, "it only reads");
    let blocked = bench.own("PATCH", &path, json!({"blocked": true})).await;
    assert!(blocked.body["isValid"] == false && !opens(&token).await);
    let free = bench.own("PATCH", &path, json!({"blocked": false})).await;
    assert!(free.body["isValid"] == true && opens(&token).await);
    let refreshed = bench.own("PATCH", &path, json!({"refreshApiToken": true, "name": "renamed"})).await;
    check_token(&refreshed.body["token"], true);
    let new = refreshed.body["token"]["value"].as_str().unwrap();
    assert!(new != token && refreshed.body["name"] == "renamed" && refreshed.body["token"]["lastUseTimestamp"].is_null());
    assert!(!opens(&token).await && opens(new).await);
    check_token(&bench.own("PATCH", &path, json!({"refreshApiToken": false})).await.body["token"], false);
    assert!(opens(new).await);
    bench.own("DELETE", &path, Value::Null).await;
    assert!(!opens(new).await && !opens(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_comes_with_the_other_changes_or_not_at_all() {
    let bench = ServedBench::start().await;
    let (_, token) = make(&bench, json!({"name": "first", "emails": [], "organizationsIds": [], "permissions": ["api-keys:read"], "dnsName": "taken"})).await;
    let (number, other) = make(&bench, new_key("second")).await;
    let path = format!("{KEYS}/{number}");
    let before = bench.vault.views().position();
    let change = async |body: Value| bench.own("PATCH", &path, body).await.status;
    assert_eq!(change(json!({"refreshApiToken": true, "dnsName": "TAKEN"})).await, 409);
    assert_eq!(change(json!({"refreshApiToken": true, "permissions": ["accessFtp"]})).await, 400);
    assert_eq!(change(json!({"refreshApiToken": true, "organizationsIds": [999]})).await, 400);
    assert_eq!(bench.vault.views().position(), before);
    assert_eq!(bench.send(&other, "GET", KEYS, Value::Null).await.status, 200, "the token is as it was");
    // Together they are one group: no reader sees the one without the other.
    assert_eq!(change(json!({"refreshApiToken": true, "dnsName": "own", "permissions": ["accessFtp"]})).await, 200);
    assert_eq!(bench.vault.views().position().0, before.0 + 2);
    let half = bench.own("GET", &format!("{path}?as_of={}&optFields=permissions", before.0 + 1), Value::Null).await;
    assert_eq!((&half.body[0]["dnsName"], &half.body[0]["permissions"]), (&Value::Null, &json!(["api-keys:read"])));
    assert_eq!(bench.send(&token, "GET", KEYS, Value::Null).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_stream_whole() {
    let bench = ServedBench::start().await;
    let mut made = Vec::new();
    for name in ["Backup one", "backup TWO", "Restore", "Zürich"] {
        let mut body = new_key(name);
        body["labels"] = json!([name]);
        made.push(make(&bench, body).await);
    }
    bench.own("PATCH", &format!("{KEYS}/{}", made[1].0), json!({"blocked": true})).await;
    let all = list(&bench, "").await;
    assert_eq!(names(&all), ["owner's first key", "Backup one", "backup TWO", "Restore", "Zürich"]);
    assert_eq!(names(&list(&bench, "name=BACKUP").await), ["Backup one", "backup TWO"]);
    assert_eq!(names(&list(&bench, "name=Z%C3%9CRICH").await), ["Zürich"]);
    assert_eq!(names(&list(&bench, "name=p%20o").await), ["Backup one"]);
    assert_eq!(names(&list(&bench, "blocked=true").await), ["backup TWO"]);
    assert_eq!(list(&bench, "blocked=False&name=backup").await.len(), 1);
    assert_eq!(list(&bench, "blocked=&name=&token=&optFields=").await, all, "an empty parameter asks for nothing");
    let short = all[3]["token"]["short"].as_str().unwrap();
    assert_eq!(names(&list(&bench, &format!("token={short}")).await), ["Restore"]);
    assert_eq!(names(&list(&bench, &format!("token={}", made[2].1)).await), ["Restore"], "by the whole value");
    assert_eq!(list(&bench, &format!("token={}&blocked=true", made[2].1)).await.len(), 0);
    for wrong in [&short[..13], &short.to_uppercase(), "klkey", "%", &made[2].1[..60], &made[2].1.replace('a', "b"), &bench.token[..70]] {
        assert_eq!(list(&bench, &format!("token={wrong}")).await.len(), 0, "{wrong}");
    }
    assert!(list(&bench, &format!("token={}", made[2].1)).await[0]["token"]["lastUseTimestamp"].is_null(), "to look for a token is no use of it");
    for (fields, more) in
        [("email", 9), ("emails", 9), ("email,emails", 10), ("labels", 9), ("permissions&optFields=labels", 10), ("emails,%20labels,permissions", 11)]
    {
        assert!(list(&bench, &format!("optFields={fields}")).await.iter().all(|key| members(key).len() == more), "{fields}");
    }
    assert_eq!(list(&bench, "optFields=email&name=zürich").await[0]["email"], json!(["ops@example.com"]));
    // Of one key, the same: what the filters leave out is an empty array.
    let one = format!("{KEYS}/{}", made[2].0);
    assert_eq!(bench.own("GET", &format!("{one}?name=restore&token={short}"), Value::Null).await.body, json!([all[3]]));
    assert_eq!(bench.own("GET", &format!("{one}?blocked=true"), Value::Null).await.body, json!([]));
    let wrong = ["blocked=maybe", "optFields=canary", "optFields=labels,token", "canary=1", "name=a&name=b", "token=a&token=b", "blocked=true&blocked=true"];
    for query in wrong.into_iter().chain(["Name=x", "as_of=canary", "min_position=canary", "limit=5"]) {
        for path in [KEYS, &one] {
            let refused = bench.own("GET", &format!("{path}?{query}"), Value::Null).await;
            assert!(refused.status == 400 && !refused.body.to_string().contains("canary"), "{query}: {refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_arrives_whole_and_in_order() {
    let bench = ServedBench::start().await;
    // Several hundred to a command: more keys than are looked at in one go, in more than one frame.
    let mut wanted = Vec::new();
    for round in 0..6 {
        bench
            .execute(|given| {
                (0..200).try_fold(keyledger::kernel::Plan::nothing(), |plan, number| {
                    let grant = crate::vault_grants::grant(&format!("{} {round} {number}", if number % 150 == 149 { "rare" } else { "common" }), &[], None);
                    Ok(plan.and(plans::create_api_key(given, &bench.owner, grant)?.0))
                })
            })
            .await;
        wanted.push(format!("rare {round} 149"));
    }
    let all = list(&bench, "").await;
    let numbers: Vec<u64> = all.iter().map(|key| key["id"].as_u64().unwrap()).collect();
    assert!(all.len() == 1201 && numbers.is_sorted());
    assert_eq!(names(&list(&bench, "name=rare").await), wanted);
    assert_eq!(list(&bench, "name=nobody").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_shown_without_secrets() {
    let bench = ServedBench::start().await;
    let organization = bench.organization("Acme").await;
    let mut body = new_key("a key");
    body["organizationsIds"] = json!([organization]);
    let (number, token) = make(&bench, body).await;
    let (path, made) = (format!("{KEYS}/{number}"), bench.vault.views().position().0);
    assert_eq!(bench.send(&token, "GET", KEYS, Value::Null).await.status, 200);
    let refreshed = bench.own("PATCH", &path, json!({"refreshApiToken": true, "name": "renamed", "blocked": true})).await.position.unwrap();
    bench.delete_organization(organization).await;
    bench.own("DELETE", &path, Value::Null).await;
    let at = async |position: u64| bench.own("GET", &format!("{path}?as_of={position}"), Value::Null).await;
    let then = at(made).await;
    assert_eq!((then.position, then.etag.as_deref()), (Some(made), Some("\"1\"")));
    let key = &then.body[0];
    assert_eq!((&key["name"], &key["updateTimestamp"], &key["organizations"]), (&json!("a key"), &Value::Null, &json!([{"id": organization, "name": "Acme"}])));
    assert!(key["token"]["lastUseTimestamp"].is_null(), "a use that is not written yet is none of the past");
    let later = at(refreshed).await.body[0].clone();
    assert_eq!((&later["name"], &later["blocked"]), (&json!("renamed"), &json!(true)));
    assert_ne!(later["token"]["short"], key["token"]["short"]);
    assert_eq!((at(made - 1).await.status, at(refreshed + 2).await.status, at(u64::MAX).await.status), (404, 404, 400));
    for position in made..=refreshed + 2 {
        let listed = bench.own("GET", &format!("{KEYS}?as_of={position}&optFields=emails,labels,permissions"), Value::Null).await;
        assert!(listed.status == 200 && !listed.body.to_string().contains("value") && !listed.body.to_string().contains(&token), "{listed:?}");
    }
    // By the token that worked then.
    let of = async |position: u64| list(&bench, &format!("token={token}&as_of={position}")).await.len();
    assert_eq!((of(made - 1).await, of(made).await, of(refreshed).await), (0, 1, 0));
    // The past needs a permission of its own.
    let (_, reader) = make(&bench, new_key("reader")).await;
    assert_eq!(bench.send(&reader, "GET", &format!("{KEYS}?as_of={made}"), Value::Null).await.status, 403);
    assert_eq!(bench.send(&reader, "GET", &format!("{KEYS}?min_position={made}"), Value::Null).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gives_the_first_answer_token_and_all() {
    let bench = ServedBench::start().await;
    let repeat = async |method: &str, path: &str, key: &str, body: &Value| -> Came {
        let request = bench.request(&bench.token, method, path).header("idempotency-key", key);
        came(if body.is_null() { request } else { request.json(body) }).await
    };
    let made = repeat("POST", KEYS, "one", &new_key("a key")).await;
    let (path, token) = (format!("{KEYS}/{}", made.body["id"]), made.body["token"]["value"].as_str().unwrap().to_owned());
    assert_eq!(bench.send(&token, "GET", KEYS, Value::Null).await.status, 200);
    let refresh = json!({"refreshApiToken": true, "labels": ["x"]});
    let refreshed = repeat("PATCH", &path, "two", &refresh).await;
    bench.own("PATCH", &path, json!({"name": "later", "blocked": true})).await;
    assert_eq!(repeat("PATCH", &path, "two", &refresh).await, refreshed);
    let renamed = repeat("PATCH", &path, "three", &json!({"name": "again"})).await;
    assert_eq!(repeat("PATCH", &path, "three", &json!({"name": "again"})).await, renamed);
    let deleted = repeat("DELETE", &path, "four", &Value::Null).await;
    assert_eq!((deleted.status, repeat("DELETE", &path, "four", &Value::Null).await), (200, deleted.clone()));
    let again = repeat("POST", KEYS, "one", &new_key("a key")).await;
    assert_eq!(again, made, "whatever came later");
    assert_eq!(list(&bench, "").await.len(), 1, "nothing was made twice");
    assert_eq!(repeat("POST", KEYS, "one", &new_key("another")).await.status, 422);
    assert_eq!(repeat("PATCH", &path, "two", &json!({})).await.status, 422);
    // Another caller's key of the same name is another command.
    let (_, writer) = make(&bench, json!({"name": "w", "emails": [], "organizationsIds": [], "permissions": ["api-keys:read", "api-keys:write"]})).await;
    let theirs = came(bench.request(&writer, "POST", KEYS).header("idempotency-key", "one").json(&new_key("a key"))).await;
    assert!(theirs.status == 201 && theirs.body["id"] != made.body["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_or_lost_its_user_is_not_valid() {
    let bench = ServedBench::start().await;
    let ann = bench.user("ann").await;
    let end = bench.clock.now().plus_seconds(60);
    for grant in [
        Grant { expires_at: Some(end), ..crate::vault_grants::grant("ends", &[], None) },
        Grant { owner: Some(ann), ..crate::vault_grants::grant("ann's", &[], None) },
    ] {
        bench.execute(|given| Ok(plans::create_api_key(given, &bench.owner, grant.clone())?.0)).await;
    }
    let valid = async |name: &str, label: &str| {
        let path = format!("{KEYS}/{}", list(&bench, &format!("name={name}")).await[0]["id"]);
        bench.own("PATCH", &path, json!({"labels": [label]})).await.body["isValid"].clone()
    };
    assert_eq!((valid("ends", "a").await, valid("ann", "a").await), (json!(true), json!(true)));
    bench.clock.leap(61_000);
    let block = keyledger::credentials::user::Changes { blocked: Some(true), ..Default::default() };
    bench.execute(|given| plans::update_user(given, &bench.owner, ann, block.clone(), None)).await;
    assert_eq!((valid("ends", "b").await, valid("ann", "b").await), (json!(false), json!(false)));
    // Nothing had to change: it is judged all the same.
    assert_eq!(valid("ends", "b").await, json!(false));
}
