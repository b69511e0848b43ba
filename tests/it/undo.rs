//! Undo and recovery as a user meets them, over HTTP: what a preview says, what an apply does, and what is refused.

use keyledger::kernel::Builtin::{Admin, Operator};
use keyledger::kernel::{Position, RoleRef};
use serde_json::{Value, json};

use crate::served_vault::{ServedBench, Told};

impl ServedBench {
    pub async fn own(&self, method: &str, path: &str, body: Value) -> Told {
        let told = self.call(&self.token, method, path, body).await;
        assert!(told.status < 300, "{method} {path}: {} {}", told.status, told.body);
        told
    }

    pub async fn of_consumer(&self, method: &str, path: &str, body: Value) -> Told {
        let request = self.request(method, path).bearer_auth(&self.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme");
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    pub fn at(&self) -> u64 {
        self.vault.views().position().0
    }

    pub async fn undo(&self, token: &str, mut order: Value) -> (Value, Told) {
        let plan = self.call(token, "POST", "/v1/undo/preview", order.clone()).await;
        assert_eq!(plan.status, 200, "{}", plan.body);
        order["plan"] = plan.body["plan"].clone();
        (plan.body, self.call(token, "POST", "/v1/undo/apply", order).await)
    }

    pub async fn recover(&self, mut order: Value) -> (Value, Told) {
        let plan = self.own("POST", "/v1/recovery/preview", order.clone()).await;
        order["plan"] = plan.body["plan"].clone();
        (plan.body, self.call(&self.token, "POST", "/v1/recovery/apply", order).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_deleted_comes_back_with_its_connections_and_their_secrets() {
    let bench = ServedBench::new().await;
    let path = "/vault/connections/crm/pipedrive";
    bench.of_consumer("POST", &format!("{path}/import"), json!({"credentials": {"access_token": "the-very-token"}})).await;
    let id = bench.own("GET", "/v1/credentials?kind=connection", Value::Null).await.body["data"][0]["id"].clone();
    assert_eq!(bench.of_consumer("DELETE", "/vault/consumers/acme", Value::Null).await.status, 200);
    let event = bench.at();
    assert_eq!(bench.of_consumer("GET", path, Value::Null).await.body["data"]["state"], "available");
    let order = json!({"event": event});
    let (plan, done) = bench.undo(&bench.token, order.clone()).await;
    assert_eq!((plan["reverts"].as_u64(), plan["deletes"].as_u64(), plan["stuck"].as_u64()), (Some(2), Some(0), Some(0)), "{plan}");
    assert_eq!((done.status, done.body["reverted"].as_u64()), (200, Some(2)), "{}", done.body);
    assert_eq!(bench.of_consumer("GET", path, Value::Null).await.body["data"]["state"], "callable");
    let shown = bench.own("POST", "/v1/secrets/reveal", json!({"credential": id, "secret": "access_token", "reason": "a test"})).await;
    assert_eq!(shown.body["value"], "the-very-token");
    // The event says what caused it, the history says what changed, and a second apply is stale.
    let first = done.body["first"].as_u64().unwrap();
    assert_eq!(bench.own("GET", &format!("/v1/events/{first}"), Value::Null).await.body["causation"], event);
    let history = bench.own("GET", &format!("/v1/history/{}", id.as_str().unwrap()), Value::Null).await.body;
    let reverted = history["data"].as_array().unwrap().iter().find(|event| event["type"] == "reverted").unwrap();
    assert!(reverted["changes"].as_array().unwrap().iter().any(|change| change["field"] == "access" && change["to"]["secret"]["fingerprint"].is_string()));
    let again = bench.call(&bench.token, "POST", "/v1/undo/apply", json!({"event": event, "plan": plan["plan"]})).await;
    assert_eq!((again.status, again.text("type")), (409, "urn:keyledger:problem:stale-plan".into()));
    // An undo is undone like anything else.
    let (_, back) = bench.undo(&bench.token, json!({"event": first})).await;
    assert_eq!(back.status, 200);
    assert_eq!(bench.of_consumer("GET", path, Value::Null).await.body["data"]["state"], "available");
    assert!(!bench.all_that_is_told().await.contains("the-very-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_revoked_works_again_only_where_that_is_said_and_permitted() {
    let bench = ServedBench::new().await;
    let made = bench.own("POST", "/v1/api-keys", json!({"name": "a key", "permissions": ["users:read"]})).await.body;
    let (id, token) = (made["api_key"]["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned());
    bench.own("DELETE", &format!("/v1/api-keys/{id}"), Value::Null).await;
    let event = bench.at();
    let (plan, done) = bench.undo(&bench.token, json!({"event": event})).await;
    assert_eq!(plan["things"][0]["problem"]["code"], "revives", "{plan}");
    assert_eq!((done.status, bench.call(&token, "GET", "/v1/me", Value::Null).await.status), (409, 401), "nothing was done");
    let (_, admin) = bench.user("adam", &[RoleRef::Builtin(Admin)], None).await;
    let refused = bench.call(&admin, "POST", "/v1/undo/preview", json!({"event": event, "revive": true})).await;
    assert_eq!((refused.status, refused.text("detail")), (403, "not permitted: needs secrets:revive".into()));
    let (plan, done) = bench.undo(&bench.token, json!({"event": event, "revive": true})).await;
    assert_eq!((done.status, plan["things"][0]["revives"].as_array().unwrap().len()), (200, 1), "{plan}");
    assert_eq!(bench.call(&token, "GET", "/v1/me", Value::Null).await.status, 200);
    // A rotation that is undone without it keeps the present secret, and says so.
    let rotated = bench.own("POST", &format!("/v1/credentials/{id}/rotate"), Value::Null).await.body["secret"].as_str().unwrap().to_owned();
    let (plan, done) = bench.undo(&bench.token, json!({"event": bench.at()})).await;
    assert_eq!((plan["things"][0]["problem"]["code"].as_str(), done.status), (Some("revives"), 409), "{plan}");
    assert_eq!(bench.call(&rotated, "GET", "/v1/me", Value::Null).await.status, 200);
    let (_, done) = bench.undo(&bench.token, json!({"event": bench.at(), "revive": true})).await;
    assert_eq!(done.status, 200);
    assert_eq!((bench.call(&rotated, "GET", "/v1/me", Value::Null).await.status, bench.call(&token, "GET", "/v1/me", Value::Null).await.status), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_stays_and_what_stands_in_the_way_is_said() {
    let bench = ServedBench::new().await;
    let role = bench.own("POST", "/v1/roles", json!({"name": "Night", "permissions": ["users:read"]})).await.body["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/roles/{role}");
    bench.own("PATCH", &path, json!({"name": "Day", "permissions": ["audit:read"]})).await;
    let event = bench.at();
    bench.own("PATCH", &path, json!({"permissions": ["roles:read"]})).await;
    // Only the name is as the event left it.
    let (plan, done) = bench.undo(&bench.token, json!({"event": event})).await;
    assert_eq!((&plan["things"][0]["changed_since"], done.status), (&json!(["permits"]), 200), "{plan}");
    let now = bench.own("GET", &path, Value::Null).await.body;
    assert_eq!((&now["name"], &now["permissions"]), (&json!("Night"), &json!(["roles:read"])));
    // A name that was taken meanwhile is told, and not forced.
    bench.own("DELETE", &path, Value::Null).await;
    let deleted = bench.at();
    let other = bench.own("POST", "/v1/roles", json!({"name": "Night", "permissions": []})).await.body["id"].as_str().unwrap().to_owned();
    let (plan, done) = bench.undo(&bench.token, json!({"event": deleted})).await;
    assert_eq!((plan["things"][0]["problem"]["code"].as_str(), done.status), (Some("name-taken"), 409), "{plan}");
    assert!(plan["things"][0]["problem"]["detail"].as_str().unwrap().contains(&other));
    // What nobody may give, nobody may bring back.
    bench.own("DELETE", &format!("/v1/roles/{other}"), Value::Null).await;
    let (_, operator) = bench.user("otto", &[RoleRef::Builtin(Operator)], None).await;
    let (plan, _) = bench.undo(&operator, json!({"event": deleted})).await;
    assert_eq!(plan["things"][0]["problem"]["code"], "forbidden", "{plan}");
    for (event, status, word) in [(bench.at() + 1, 404, "not-found"), (0, 404, "not-found")] {
        let told = bench.call(&bench.token, "POST", "/v1/undo/preview", json!({"event": event})).await;
        assert_eq!((told.status, told.text("type")), (status, format!("urn:keyledger:problem:{word}")));
    }
    // Another tenant's event looks like a missing one.
    let (_, stranger) = bench.tenant("other").await;
    let told = bench.call(&stranger, "POST", "/v1/undo/preview", json!({"event": deleted})).await;
    assert_eq!(told.status, 404);
    let (plan, done) = bench
        .undo(
            &bench.token,
            json!({"event": bench.own("POST", "/v1/users/me/sign-out", Value::Null).await.header("keyledger-position").parse::<u64>().unwrap()}),
        )
        .await;
    assert_eq!((plan["things"][0]["problem"]["code"].as_str(), done.status), (Some("only-forward"), 409), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_is_put_back_to_a_moment_and_the_rest_stays() {
    let bench = ServedBench::new().await;
    let role = bench.own("POST", "/v1/roles", json!({"name": "Night", "permissions": ["users:read"]})).await.body["id"].as_str().unwrap().to_owned();
    bench.clock.pass(60_000);
    let then = bench.vault.now().to_string();
    bench.clock.pass(60_000);
    bench.own("PATCH", &format!("/v1/roles/{role}"), json!({"name": "Day"})).await;
    bench.own("POST", "/v1/roles", json!({"name": "Late", "permissions": []})).await;
    bench.own("POST", "/v1/organizations", json!({"name": "Acme"})).await;
    let (from, before) = (bench.own("GET", &format!("/v1/diff?from={then}&kind=role"), Value::Null).await.body, bench.at());
    let hows: Vec<&str> = from["data"].as_array().unwrap().iter().map(|thing| thing["how"].as_str().unwrap()).collect();
    assert_eq!((hows.len(), hows.contains(&"created"), hows.contains(&"changed")), (2, true, true), "{from}");
    let order = json!({"to": then, "kind": "role", "reason": "it went wrong"});
    let plan = bench.own("POST", "/v1/recovery/preview", order.clone()).await.body;
    assert_eq!((plan["reverts"].as_u64(), plan["deletes"].as_u64(), bench.at()), (Some(1), Some(1), before), "a preview writes nothing: {plan}");
    // The plan is stale when one of its things moves.
    bench.own("PATCH", &format!("/v1/roles/{role}"), json!({"name": "Noon"})).await;
    let mut stale = order.clone();
    stale["plan"] = plan["plan"].clone();
    assert_eq!(bench.call(&bench.token, "POST", "/v1/recovery/apply", stale).await.status, 409);
    let (_, done) = bench.recover(order.clone()).await;
    assert_eq!((done.status, done.body["reverted"].as_u64()), (200, Some(2)), "{}", done.body);
    assert_eq!(bench.own("GET", &format!("/v1/roles/{role}"), Value::Null).await.body["name"], "Night");
    assert_eq!(bench.own("GET", "/v1/organizations", Value::Null).await.body["data"].as_array().unwrap().len(), 1, "what was not selected stays");
    let roles = bench.own("GET", &format!("/v1/diff?from={then}&kind=role"), Value::Null).await.body;
    assert_eq!(roles["data"], json!([]), "nothing of the selection differs any more");
    let told = bench.own("GET", &format!("/v1/recoveries/{}", done.text("recovery")), Value::Null).await.body;
    assert_eq!((told["reverted"].as_u64(), told["things"].as_u64(), told["selection"]["kind"].as_str()), (Some(2), Some(2), Some("role")));
    let (plan, again) = bench.recover(order).await;
    assert_eq!((again.status, plan["reverts"].as_u64()), (409, Some(0)), "applied twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_makes_no_sense_is_refused_with_its_reason() {
    let bench = ServedBench::new().await;
    let head = bench.at();
    for (order, status, word, detail) in [
        (json!({"to": "2999-01-01T00:00:00Z"}), 400, "invalid", "to: lies in the future"),
        (json!({"to": "1999-01-01T00:00:00Z"}), 404, "before-the-log", "to: the vault had not begun by then"),
        (json!({"to": 0}), 404, "before-the-log", "to: the vault had not begun by then"),
        (json!({"to": head + 1}), 404, "past-the-end", "the log ends at position"),
        (json!({"to": "yesterday"}), 400, "invalid", "to: takes a position"),
        (json!({"to": head, "kind": "nothing"}), 400, "invalid", "kind: there is no kind"),
        (json!({"to": head, "tenant": "nobody"}), 404, "not-found", "tenant: there is none of that name"),
        (json!({"to": head, "consumer": "acme"}), 400, "invalid", "consumer: takes application/consumer"),
        (json!({"to": head, "id": "0123456789abcdef0123456789abcdef"}), 404, "not-found", "the selection matches nothing"),
        (json!({"to": head, "kind": "webhook"}), 404, "not-found", "the selection matches nothing"),
        (json!({"to": head, "consumer": "app/nobody"}), 404, "not-found", "the selection matches nothing"),
        (json!({"to": head, "what": 1}), 400, "invalid", ""),
    ] {
        let told = bench.call(&bench.token, "POST", "/v1/recovery/preview", order.clone()).await;
        assert_eq!((told.status, told.text("type")), (status, format!("urn:keyledger:problem:{word}")), "{order}: {}", told.body);
        assert!(told.text("detail").contains(detail), "{order}: {}", told.body);
    }
    // Where nothing differs there is nothing to do, and such a plan is not applied.
    let (plan, done) = bench.recover(json!({"to": head})).await;
    assert_eq!((plan["things"].as_array().unwrap().len(), done.status), (0, 409));
    let (tenant, stranger) = bench.tenant("other").await;
    for tenant in ["default", "*"] {
        let told = bench.call(&stranger, "POST", "/v1/recovery/preview", json!({"to": bench.at(), "tenant": tenant})).await;
        assert!(told.status == 403 || told.status == 404, "{tenant}: {}", told.body);
    }
    assert_eq!(bench.own("POST", "/v1/recovery/preview", json!({"to": bench.at(), "tenant": tenant.to_string()})).await.status, 200, "who runs the vault may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_recovery_runs_in_groups_and_goes_on_where_it_was_cut_off() {
    let bench = ServedBench::new().await;
    for number in 0..600 {
        bench.own("POST", "/v1/organizations", json!({"name": format!("org {number}")})).await;
    }
    let to = bench.at();
    for (id, _) in bench.vault.views().listed(bench.owner.tenant, keyledger::credentials::Kind::Organization, Position::ZERO) {
        bench.own("PATCH", &format!("/v1/organizations/{id}"), json!({"name": format!("gone {id}")})).await;
    }
    // Begun by a run that ended right after its first event.
    let (selection, started) = (keyledger::credentials::recovery::Selection { tenant: Some(bench.owner.tenant), ..Default::default() }, bench.at() + 1);
    bench
        .execute(|given| {
            let event = keyledger::credentials::recovery::Event::Started {
                to: Position(to),
                selection: selection.clone(),
                things: 600,
                revive: false,
                plan: "a plan".into(),
                undone: None,
                asker: keyledger::credentials::recovery::Asker { user: bench.owner.user, held: bench.owner.held(), is_home: true },
            };
            Ok(keyledger::kernel::Plan::of(keyledger::kernel::Write::change(given.fresh(), keyledger::kernel::Version::ZERO, event.into())))
        })
        .await;
    let ids: Vec<String> =
        bench.vault.views().listed(bench.owner.tenant, keyledger::credentials::Kind::Organization, Position::ZERO).map(|(id, _)| id.to_string()).collect();
    bench.own("PATCH", &format!("/v1/organizations/{}", ids[7]), json!({"name": "moved since"})).await;
    let open = bench.vault.unfinished();
    assert_eq!(open.len(), 1);
    let done = bench.vault.go_on(open[0].clone()).await.unwrap();
    assert_eq!((done.reverted, bench.vault.unfinished().len()), (599, 0), "what changed again since it began stays");
    assert_eq!(bench.own("GET", &format!("/v1/organizations/{}", ids[7]), Value::Null).await.body["name"], "moved since");
    assert_eq!(bench.own("GET", &format!("/v1/organizations/{}", ids[8]), Value::Null).await.body["name"], "org 8");
    let events = bench.own("GET", "/v1/events?type=reverted&limit=200", Value::Null).await.body;
    let caused: Vec<u64> = events["data"].as_array().unwrap().iter().map(|event| event["causation"].as_u64().unwrap()).collect();
    assert!(caused.iter().all(|position| *position == started) && caused.len() == 200);
    let groups = events["data"][0]["group"]["count"].as_u64().unwrap();
    assert!(groups < 599, "several groups: {groups}");
}
