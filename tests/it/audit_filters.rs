//! The filters of the audit log: each alone, several values, together, what was refused included, and what they do not take.

use std::collections::BTreeSet;

use keyledger::kernel::{Builtin, Plan, RoleRef};
use keyledger::vault::plans::create_organization;
use serde_json::{Value, json};

use crate::served_vault::ServedBench;

const PASSWORD: &str = "correct horse battery staple";

/// All events of a query, oldest first, page after page.
pub async fn all(bench: &ServedBench, query: &str) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = bench.call(&bench.token, "GET", &format!("/v1/events?order=asc&limit=7&cursor={cursor}&{query}"), Value::Null).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        events.extend(page.body["data"].as_array().unwrap().iter().cloned());
        match page.body["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return events,
        }
    }
}

/// So many events at once.
pub async fn churn(bench: &ServedBench, round: usize, count: usize) {
    bench.execute(|given| (0..count).try_fold(Plan::nothing(), |plan, number| Ok(plan.and(create_organization(given, format!("{round}/{number}"))?)))).await;
}

fn positions<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    events.into_iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

/// People who did something, and somebody who may not: ann's id, ann's key, and the owner's.
async fn story(bench: &ServedBench) -> (String, String) {
    let (ann, key) = bench.user("ann", &[RoleRef::Builtin(Builtin::Operator)], Some(PASSWORD)).await;
    let session = bench.call("none", "POST", "/v1/sessions", json!({"login": "ann", "password": PASSWORD})).await.text("token");
    let made = bench.call(&session, "POST", "/v1/organizations", json!({"name": "By a session"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(bench.call(&key, "POST", "/v1/organizations", json!({"name": "By a key"})).await.status, 201);
    // What ann may not, twice by the session.
    for _ in 0..2 {
        assert_eq!(bench.call(&session, "POST", "/v1/users", json!({"login": "bob"})).await.status, 403);
    }
    assert_eq!(bench.call(&session, "DELETE", "/v1/sessions/current", Value::Null).await.status, 204);
    let wrong = bench.call("none", "POST", "/v1/sessions", json!({"login": "ann", "password": "wrong wrong wrong"})).await;
    assert_eq!(wrong.status, 401);
    let nobody = bench.call("none", "POST", "/v1/sessions", json!({"login": "ann", "tenant": "nowhere", "password": "x"})).await;
    assert_eq!(nobody.status, 401);
    bench.vault.write_denials().await;
    (ann.to_string(), key)
}

#[tokio::test]
async fn each_filter_gives_what_a_look_through_the_whole_log_gives() {
    let bench = ServedBench::new().await;
    let (ann, _) = story(&bench).await;
    let whole = all(&bench, "").await;
    let by = |matches: &dyn Fn(&Value) -> bool| positions(whole.iter().filter(|event| matches(event)));
    let is = |event: &Value, member: &str, values: &[&str]| values.iter().any(|value| event[member] == **value);
    for (query, expected) in [
        ("kind=user&kind=organization", by(&|event| is(event, "kind", &["user", "organization"]))),
        ("type=created&type=ended", by(&|event| is(event, "type", &["created", "ended"]))),
        ("kind=session&type=ended", by(&|event| is(event, "kind", &["session"]) && is(event, "type", &["ended"]))),
        ("decision=denied", by(&|event| is(event, "kind", &["attempts"]) && is(event, "type", &["failed", "denied"]))),
        ("decision=allowed", by(&|event| !(is(event, "kind", &["attempts"]) && is(event, "type", &["failed", "denied"])))),
        ("rule=role%3Aoperator", by(&|event| event["meta"]["rule"] == "role:operator")),
        ("rule=role%3Aoperator&rule=attempts", by(&|event| ["role:operator", "attempts"].iter().any(|rule| event["meta"]["rule"] == **rule))),
        ("kind=nothing", vec![]),
    ] {
        assert_eq!(positions(&all(&bench, query).await), expected, "{query}");
        assert!(query == "kind=nothing" || !expected.is_empty(), "{query} finds something");
    }
    let streams: BTreeSet<&str> = whole.iter().filter(|event| event["kind"] == "organization").map(|event| event["stream"].as_str().unwrap()).collect();
    let query: Vec<String> = streams.iter().map(|stream| format!("stream={stream}")).collect();
    assert_eq!(positions(&all(&bench, &query.join("&")).await), by(&|event| event["kind"] == "organization"), "several things");
    let newest = bench.call(&bench.token, "GET", &format!("/v1/events?{}&limit=50", query.join("&")), Value::Null).await;
    assert_eq!(newest.body["data"].as_array().unwrap().len(), 2, "newest first as well");
    // By the user: whatever its key and its session did, which has ended, and what was refused to them.
    let own = all(&bench, &format!("actor={ann}")).await;
    let names: Vec<&Value> = own.iter().filter_map(|event| event["facts"]["created"].get("name")).collect();
    assert_eq!(names, ["By a session", "By a key"]);
    let refused: Vec<&Value> = own.iter().filter(|event| event["decision"] == "denied").collect();
    let told: Vec<&str> = refused.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(told, ["failed", "denied"]);
    assert_eq!(refused[1]["facts"]["denied"]["denials"][0]["permission"], "users:write");
    assert_eq!(refused[1]["facts"]["denied"]["denials"][0]["count"], 2);
    let session = own.iter().find(|event| event["facts"]["created"]["name"] == "By a session").unwrap()["actor"].as_str().unwrap();
    let of_session = all(&bench, &format!("actor={session}")).await;
    assert_eq!(of_session.iter().filter(|event| event["decision"] == "denied").count(), 1, "what was refused to the session alone");
    assert_eq!(of_session.iter().filter(|event| event["kind"] == "organization").count(), 1);
}

#[tokio::test]
async fn addresses_are_found_also_of_what_was_refused_and_instants_bound_like_positions() {
    let bench = ServedBench::new().await;
    story(&bench).await;
    bench.clock.pass(60_000);
    let at = bench.vault.now().to_string();
    assert_eq!(bench.call(&bench.token, "POST", "/v1/organizations", json!({"name": "Later"})).await.status, 201);
    let here = all(&bench, "ip=127.0.0.1").await;
    assert!(here.iter().any(|event| event["type"] == "failed") && here.iter().any(|event| event["type"] == "created"));
    assert_eq!(all(&bench, "ip=192.0.2.1").await, Vec::<Value>::new());
    let whole = all(&bench, "").await;
    assert_eq!(positions(&all(&bench, "ip=192.0.2.1&ip=127.0.0.1").await), positions(&here));
    let later = all(&bench, &format!("from={at}")).await;
    assert_eq!(positions(&later), positions(whole.iter().filter(|event| event["recorded_at"].as_str() >= Some(at.as_str()))));
    let earlier = all(&bench, &format!("to={at}")).await;
    assert_eq!(earlier.len() + later.len(), whole.len());
    assert_eq!(all(&bench, "to=1971-01-01T00:00:00Z").await.len(), 0, "before the log");
    let head = bench.vault.views().position().0;
    assert_eq!(all(&bench, &format!("from={}", head + 1)).await.len(), 0, "the next one is still to come");
    assert_eq!(all(&bench, &format!("to={head}")).await.len(), whole.len());
    // What lies further off is a mistake, as it is in `as_of`.
    let (past, future) = (format!("{}", head + 2), "9000-01-01T00:00:00Z".to_owned());
    for (name, text) in [("from", &past), ("from", &future), ("to", &past), ("to", &future), ("as_of", &past), ("as_of", &future)] {
        for path in ["/v1/events", "/v1/events/export"] {
            let answer = bench.call(&bench.token, "GET", &format!("{path}?{name}={text}"), Value::Null).await;
            let why = if text == &past { format!("{name}: the log ends at position {head}") } else { format!("{name}: lies in the future") };
            assert_eq!((answer.status, answer.text("detail")), (400, why), "{path}");
        }
    }
}

#[tokio::test]
async fn what_no_filter_takes_is_refused_and_said_so() {
    let bench = ServedBench::new().await;
    let many = "kind=a&".repeat(33);
    let (from, to) = ("from=5&to=3", "from=2030-01-01T00:00:00Z&to=2020-01-01T00:00:00Z");
    for bad in [
        "decision=maybe",
        "stream=x",
        "actor=ann",
        "from=yesterday",
        "to=5x",
        "as_of=x",
        "order=up",
        "decision=denied&decision=allowed",
        "kinds=a",
        &many,
        from,
        to,
    ] {
        let answer = bench.call(&bench.token, "GET", &format!("/v1/events?{bad}"), Value::Null).await;
        assert_eq!((answer.status, answer.body["type"].as_str()), (400, Some("urn:keyledger:problem:invalid")), "{bad}: {}", answer.body);
        let name = bad.split('=').next().unwrap();
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(name) || detail.contains("query") || detail.contains("from"), "{bad}: {detail}");
    }
}

#[tokio::test]
async fn a_page_is_bounded_however_little_fits_and_goes_on_where_it_ended() {
    let bench = ServedBench::new().await;
    // Two refusals far apart, and much between them that has to be opened to see that it does not fit.
    story(&bench).await;
    for number in 0..30 {
        churn(&bench, number, 200).await;
    }
    let first = bench.call(&bench.token, "GET", "/v1/events?ip=192.0.2.1&limit=5", Value::Null).await;
    assert_eq!(first.body["data"], json!([]));
    assert!(first.body["next_cursor"].is_string(), "5,000 are opened, then the page ends");
    let whole = all(&bench, "decision=denied").await;
    assert_eq!(whole.len(), 3, "{whole:?}");
    let found = all(&bench, "rule=attempts&decision=denied").await;
    assert_eq!(found, whole, "found across pages that hold nothing");
}

#[tokio::test]
async fn another_tenants_attempts_are_nobodys_business_and_unknown_names_are_the_operators() {
    let bench = ServedBench::new().await;
    story(&bench).await;
    let (_, token) = bench.tenant("other").await;
    let events = |token: String| {
        let bench = &bench;
        async move {
            let page = bench.call(&token, "GET", "/v1/events?kind=attempts&limit=200", Value::Null).await;
            page.body["data"].as_array().unwrap().clone()
        }
    };
    assert_eq!(events(token).await, Vec::<Value>::new());
    let own = events(bench.token.clone()).await;
    let admin = events(bench.key(None, &["audit:read"]).await).await;
    assert_eq!(own.len(), admin.len() + 2, "the system's attempts, made and failed: only for who runs the vault");
}

/// Types of the events of a kind that a token sees, oldest first, in the list; each is given alone and exported as well, and no other one.
async fn seen(bench: &ServedBench, token: &str, kind: &str) -> Vec<String> {
    let page = bench.call(token, "GET", &format!("/v1/events?kind={kind}&order=asc&limit=200"), Value::Null).await;
    let events = page.body["data"].as_array().unwrap();
    let export = bench.request("GET", &format!("/v1/events/export?kind={kind}&format=csv")).bearer_auth(token).send().await.unwrap().text().await.unwrap();
    assert_eq!(export.lines().filter(|line| line.contains(&format!(",{kind},"))).count(), events.len(), "{export}");
    for position in 1..=bench.vault.views().position().0 {
        let alone = bench.call(token, "GET", &format!("/v1/events/{position}"), Value::Null).await;
        let listed = events.iter().any(|event| event["position"] == position);
        assert!(listed || alone.status == 404 || alone.body["kind"] != *kind, "{position}: {}", alone.body);
        assert!(!listed || alone.status == 200, "{position}: {}", alone.body);
    }
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_became_of_a_tenant_is_seen_by_who_runs_the_vault_and_by_the_tenant_itself() {
    let bench = ServedBench::new().await;
    let (_, token) = bench.tenant("acme").await;
    bench.tenant("other").await;
    let own = async |method: &str, path: &str, body: Value| {
        let told = bench.call(&bench.token, method, path, body).await;
        assert_eq!(told.status, 200, "{path}: {}", told.body);
        told
    };
    own("POST", "/v1/tenants/acme/suspend", Value::Null).await;
    let at = bench.vault.views().position().0;
    own("POST", "/v1/tenants/acme/resume", Value::Null).await;
    own("POST", "/v1/tenants/acme/suspend", Value::Null).await;
    let suspended = bench.vault.views().position().0;
    let plan = own("POST", "/v1/undo/preview", json!({"event": suspended})).await.body["plan"].clone();
    own("POST", "/v1/undo/apply", json!({"event": suspended, "plan": plan})).await;
    own("POST", "/v1/tenants/acme/shred", json!({"confirm": "acme", "reason": "it leaves"})).await;
    own("POST", "/v1/tenants/acme/shred/cancel", Value::Null).await;
    let of_acme = ["created", "suspended", "resumed", "suspended", "reverted", "shred_requested", "shred_cancelled"];
    assert_eq!(seen(&bench, &token, "tenant").await, of_acme);
    let all = seen(&bench, &bench.token, "tenant").await;
    assert_eq!(all.len(), of_acme.len() + 3, "those of the vault, the first tenant and the other one: {all:?}");
    assert_eq!(bench.call(&bench.token, "GET", &format!("/v1/events/{at}"), Value::Null).await.text("type"), "suspended");
    let reader = bench.key(None, &["audit:read", "history:read"]).await;
    assert_eq!(seen(&bench, &reader, "tenant").await, ["created"], "who does not run the vault sees that of the own tenant");
    let narrow = bench.call(&token, "POST", "/v1/api-keys", json!({"name": "narrow", "permissions": ["audit:read"], "app_ids": ["app"]})).await.text("token");
    assert_eq!(seen(&bench, &narrow, "tenant").await, Vec::<String>::new());
    // The thing's own history, for whoever runs the vault and for nobody else.
    let stream = bench.vault.views().tenants().find(|(name, ..)| *name == "acme").unwrap().2;
    let operator = bench.vault.authenticate(&bench.token).unwrap();
    let page = bench.vault.history(&operator, stream, bench.vault.views().position(), 100).await.unwrap();
    assert_eq!(page.events.len(), of_acme.len());
    let reader = bench.vault.authenticate(&reader).unwrap();
    assert!(bench.vault.history(&reader, stream, bench.vault.views().position(), 100).await.is_err());
}

#[tokio::test]
async fn what_was_done_to_keys_for_another_tenant_is_told_to_who_runs_the_vault_alone() {
    let bench = ServedBench::new().await;
    let (_, token) = bench.tenant("acme").await;
    let role = bench.call(&token, "POST", "/v1/roles", json!({"name": "doomed", "permissions": []})).await.text("id");
    let reason = "a matter of acme alone";
    let shred = json!({"thing": role, "reason": reason, "confirm": role});
    assert_eq!(bench.call(&token, "POST", "/v1/shred", shred).await.body["shredded"], true);
    let narrow = json!({"name": "narrow", "permissions": ["audit:read"], "app_ids": ["app"]});
    let narrow_of_acme = bench.call(&token, "POST", "/v1/api-keys", narrow.clone()).await.text("token");
    let narrow = bench.call(&bench.token, "POST", "/v1/api-keys", narrow).await.text("token");
    let reader = bench.key(None, &["audit:read"]).await;
    for (who, sees) in [(&token, true), (&bench.token, true), (&reader, false), (&narrow_of_acme, false), (&narrow, false)] {
        let told = bench.request("GET", "/v1/events?kind=vault&limit=200").bearer_auth(who).send().await.unwrap().text().await.unwrap();
        assert_eq!(told.contains(reason), sees, "{told}");
        assert_eq!(seen(&bench, who, "vault").await.contains(&"shredded".to_owned()), sees);
    }
}
