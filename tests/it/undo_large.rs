//! What takes more than one group, what is asked twice, and what is taken back of a recovery.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::served_vault::ServedBench;

impl ServedBench {
    /// A consumer with so many connections, each with something that takes room.
    async fn with_connections(&self, count: usize, bytes: usize) {
        let services = self.own("GET", "/v1/connectors", Value::Null).await.body;
        let services: Vec<&Value> = services["data"].as_array().unwrap().iter().map(|entry| &entry["connector"]).collect();
        for service in services.iter().cycle().take(count) {
            let path = format!("/vault/connections/{}/{}", service["unified_api"].as_str().unwrap(), service["service_id"].as_str().unwrap());
            let body = json!({"credentials": {"access_token": "a token"}, "metadata": {"note": "x".repeat(bytes)}});
            let told = self.of_consumer("POST", &format!("{path}/import"), body).await;
            assert_eq!(told.status, 200, "{path}: {}", told.body);
        }
    }

    async fn connections(&self) -> usize {
        self.own("GET", "/v1/credentials?kind=connection&limit=200", Value::Null).await.body["data"].as_array().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_is_larger_than_one_group_comes_back_and_goes_again() {
    let bench = ServedBench::new().await;
    bench.with_connections(60, 8_000).await;
    let all = bench.connections().await;
    assert!(all >= 55, "{all}");
    let to = bench.at();
    assert_eq!(bench.of_consumer("DELETE", "/vault/consumers/acme", Value::Null).await.status, 200);
    let (event, none) = (bench.at(), bench.connections().await);
    let (plan, done) = bench.undo(&bench.token, json!({"event": event})).await;
    assert_eq!((plan["reverts"].as_u64(), done.status), (Some(all as u64 + 1), 200), "{}", done.body);
    assert_eq!((none, bench.connections().await, done.body["reverted"].as_u64()), (0, all, Some(all as u64 + 1)));
    // It was begun by an event of its own, whose cause is what it undoes, and which is undone like any other.
    let first = done.body["first"].as_u64().unwrap();
    let began = bench.own("GET", &format!("/v1/events/{first}"), Value::Null).await.body;
    assert_eq!((&began["kind"], &began["type"], &began["causation"]), (&json!("recovery"), &json!("started"), &json!(event)));
    let (_, back) = bench.undo(&bench.token, json!({"event": first})).await;
    assert_eq!((back.status, bench.connections().await), (200, 0), "{}", back.body);
    let (_, done) = bench.recover(json!({"to": to, "consumer": "app/acme"})).await;
    assert_eq!((done.status, bench.connections().await, bench.vault.unfinished().len()), (200, all, 0), "{}", done.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_is_taken_back_by_its_beginning_or_its_end() {
    let bench = ServedBench::new().await;
    let role = bench.own("POST", "/v1/roles", json!({"name": "Night", "permissions": []})).await.text("id");
    let name = async || bench.own("GET", &format!("/v1/roles/{role}"), Value::Null).await.text("name");
    let to = bench.at();
    bench.own("PATCH", &format!("/v1/roles/{role}"), json!({"name": "Day"})).await;
    bench.own("POST", "/v1/organizations", json!({"name": "Later"})).await;
    for end in ["first", "last"] {
        let (_, done) = bench.recover(json!({"to": to})).await;
        assert_eq!((done.status, name().await), (200, "Night".into()));
        let (_, back) = bench.undo(&bench.token, json!({"event": done.body[end]})).await;
        assert_eq!((back.status, name().await, back.body["reverted"].as_u64()), (200, "Day".into(), Some(2)), "{}", back.body);
    }
    // It takes who may recover.
    let (_, done) = bench.recover(json!({"to": to})).await;
    let undoes = bench.key(None, &["undo:apply", "roles:write", "organizations:write"]).await;
    assert_eq!(bench.call(&undoes, "POST", "/v1/undo/preview", json!({"event": done.body["first"]})).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_apply_one_plan_one_does_and_a_repeat_is_answered_as_the_first() {
    let bench = ServedBench::new().await;
    let role = bench.own("POST", "/v1/roles", json!({"name": "Night", "permissions": []})).await.text("id");
    let to = bench.at();
    bench.own("PATCH", &format!("/v1/roles/{role}"), json!({"name": "Day"})).await;
    let plan = bench.own("POST", "/v1/recovery/preview", json!({"to": to})).await.text("plan");
    let apply = || bench.call(&bench.token, "POST", "/v1/recovery/apply", json!({"to": to, "plan": plan}));
    let statuses: Vec<u16> = join_all((0..6).map(|_| apply())).await.iter().map(|told| told.status).collect();
    assert_eq!((statuses.iter().filter(|status| **status == 200).count(), statuses.iter().filter(|status| **status == 409).count()), (1, 5));
    let keyed = async |path: &str, order: &Value, key: &str| {
        let request = bench.request("POST", path).bearer_auth(&bench.token).header("idempotency-key", key).json(order);
        bench.send(request).await
    };
    bench.own("PATCH", &format!("/v1/roles/{role}"), json!({"name": "Noon"})).await;
    let event = bench.at();
    for (preview, path, mut order) in
        [("/v1/undo/preview", "/v1/undo/apply", json!({"event": event})), ("/v1/recovery/preview", "/v1/recovery/apply", json!({"to": to - 1, "kind": "role"}))]
    {
        order["plan"] = bench.own("POST", preview, order.clone()).await.body["plan"].clone();
        let first = keyed(path, &order, path).await;
        let (head, again) = (bench.at(), keyed(path, &order, path).await);
        assert_eq!((first.status, again.status, &again.body, bench.at()), (200, 200, &first.body, head), "{path}");
        order["reason"] = json!("another");
        assert_eq!(keyed(path, &order, path).await.status, 422, "{path}: the key is another command's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_stays_while_it_has_connections_of_later() {
    let bench = ServedBench::new().await;
    bench.with_connections(1, 1).await;
    let created = bench.own("GET", "/v1/events?kind=connection&type=created&limit=1", Value::Null).await.body["data"][0]["position"].clone();
    bench.with_connections(2, 1).await;
    let (plan, done) = bench.undo(&bench.token, json!({"event": created})).await;
    assert_eq!((plan["deletes"].as_u64(), done.status, bench.connections().await), (Some(1), 200, 1), "{plan}");
}
