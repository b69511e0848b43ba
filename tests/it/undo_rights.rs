//! Nobody gains by putting things back: neither rights, nor secrets, nor a look at what they may not see.

use keyledger::credentials::recovery::{Asker, Event, Selection};
use keyledger::credentials::user::Changes;
use keyledger::kernel::Builtin::Admin;
use keyledger::kernel::*;
use serde_json::{Value, json};

use crate::served_vault::ServedBench;

const CODE: &str = "/things/0/problem/code";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_deleted_counts_with_what_it_permitted() {
    let bench = ServedBench::new().await;
    let strong = bench.role("Strong", &["secrets:reveal"]).await;
    let (id, token) = bench.user("dag", &[RoleRef::Builtin(Admin), strong], None).await;
    bench.change_user(id, Changes { roles: Some(vec![RoleRef::Builtin(Admin)]), ..Changes::default() }).await;
    let demoted = bench.at();
    let RoleRef::Own(role) = strong else { unreachable!() };
    bench.own("DELETE", &format!("/v1/roles/{role}"), Value::Null).await;
    // As long as the role is gone it gives nothing; when it comes back it does.
    let (plan, done) = bench.undo(&token, json!({"event": demoted})).await;
    assert_eq!((plan.pointer(CODE).unwrap(), done.status), (&json!("forbidden"), 409), "{plan}");
    assert_eq!(plan["things"][0]["changes"], json!([]), "what is forbidden is not shown");
    let (_, done) = bench.undo(&bench.token, json!({"event": demoted})).await;
    assert_eq!(done.status, 200, "who may give it may");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_after_a_stop_may_no_more_than_who_asked_and_says_who_that_was() {
    let bench = ServedBench::new().await;
    let strong = bench.role("Strong", &["secrets:reveal"]).await;
    let (dem, token) = bench.user("dem", &[RoleRef::Builtin(Admin), strong], None).await;
    let name = bench.own("POST", "/v1/organizations", json!({"name": "Before"})).await.text("id");
    let to = bench.at();
    bench.change_user(dem, Changes { roles: Some(vec![RoleRef::Builtin(Admin)]), ..Changes::default() }).await;
    bench.own("PATCH", &format!("/v1/organizations/{name}"), json!({"name": "After"})).await;
    let by = bench.vault.authenticate(&token).unwrap();
    let asker = Asker { user: by.user, held: by.held(), is_home: by.is_home };
    let selection = Selection { tenant: Some(by.tenant), ..Selection::default() };
    let start = || Event::Started { to: Position(to), selection: selection.clone(), things: 2, revive: false, plan: "a plan".into(), undone: None, asker };
    let command = keyledger::vault::Command {
        principal: &by,
        meta: keyledger::credentials::Meta { reason: Some("it went wrong".into()), ..Default::default() },
        idempotency: None,
    };
    bench.vault.execute(&command, |given| Ok(Plan::of(Write::change(given.fresh(), Version::ZERO, start().into())))).await.unwrap();
    let done = bench.vault.go_on(bench.vault.unfinished().remove(0)).await.unwrap();
    assert_eq!(done.reverted, 1);
    assert_eq!(bench.own("GET", &format!("/v1/organizations/{name}"), Value::Null).await.body["name"], "Before");
    let me = bench.call(&token, "GET", "/v1/me", Value::Null).await.body.to_string();
    assert!(!me.contains("secrets:reveal"), "{me}");
    let event = bench.own("GET", "/v1/events?kind=organization&type=reverted&limit=1", Value::Null).await.body["data"][0].clone();
    assert_eq!((&event["actor"], &event["meta"]["reason"]), (&json!(by.id.to_string()), &json!("it went wrong")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_replaced_does_not_come_back_by_way_of_a_deletion() {
    let bench = ServedBench::new().await;
    let (old, new) = ("the first password of bob", "the second password of bob");
    let (bob, _) = bench.user("bob", &[], Some(old)).await;
    let to = bench.at();
    bench.own("PUT", &format!("/v1/users/{bob}/password"), json!({"password": new})).await;
    bench.own("DELETE", &format!("/v1/users/{bob}"), Value::Null).await;
    let (plan, done) = bench.recover(json!({"to": to, "id": bob.to_string()})).await;
    assert_eq!((&plan["things"][0]["revives"], done.status), (&json!(["password"]), 200), "{plan}");
    let login = async |password: &str| bench.send(bench.request("POST", "/v1/sessions").json(&json!({"login": "bob", "password": password}))).await.status;
    assert_eq!((login(old).await, login(new).await), (401, 201), "it stands with the password that it had last");
    // An integration's secret as well.
    let path = "/v1/integrations/crm/pipedrive";
    let secret = |value: &str| json!({"settings": {"client_id": "an id", "client_secret": value}});
    bench.own("PUT", path, secret("the first secret")).await;
    let to = bench.at();
    bench.own("PUT", path, secret("the second secret")).await;
    bench.own("DELETE", path, Value::Null).await;
    let (plan, done) = bench.recover(json!({"to": to, "kind": "integration"})).await;
    assert_eq!((done.status, plan["things"][0]["revives"].as_array().unwrap().len()), (200, 1), "{plan}");
    let id = plan["things"][0]["id"].clone();
    let shown = bench.own("POST", "/v1/secrets/reveal", json!({"credential": id, "secret": "settings.client_secret", "reason": "a test"})).await.text("value");
    assert_eq!(shown, "the second secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_as_such_is_not_put_back_by_its_own_people() {
    let bench = ServedBench::new().await;
    let (id, owner) = bench.tenant("other").await;
    bench.own("POST", "/v1/tenants/other/suspend", Value::Null).await;
    let suspended = bench.at();
    bench.own("POST", "/v1/tenants/other/resume", Value::Null).await;
    for order in [json!({"to": suspended}), json!({"to": suspended, "kind": "tenant"})] {
        let plan = bench.call(&owner, "POST", "/v1/recovery/preview", order).await;
        assert!(plan.body["things"].as_array().unwrap().is_empty(), "{}", plan.body);
    }
    let plan = bench.own("POST", "/v1/recovery/preview", json!({"to": suspended, "tenant": id.to_string()})).await.body;
    assert_eq!((&plan["reverts"], &plan["things"][0]["kind"]), (&json!(1), &json!("tenant")), "who runs the vault may: {plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_nothing_that_its_reader_may_not_see() {
    let bench = ServedBench::new().await;
    let role = bench.own("POST", "/v1/roles", json!({"name": "Night", "permissions": []})).await.text("id");
    let to = bench.at();
    bench.own("PATCH", &format!("/v1/roles/{role}"), json!({"name": "Day"})).await;
    let event = bench.at();
    let asks = [("/v1/undo/preview", json!({"event": event})), ("/v1/recovery/preview", json!({"to": to}))];
    // Who may not read the past puts it back unseen.
    let blind = bench.key(None, &["undo:apply", "recovery:apply", "roles:write"]).await;
    for (path, body) in &asks {
        let plan = bench.call(&blind, "POST", path, body.clone()).await.body;
        assert_eq!((&plan["reverts"], &plan["things"][0]["changes"]), (&json!(1), &json!([])), "{path}: {plan}");
    }
    // Whose token may name only some applications sees none at all.
    let permissions = ["undo:apply", "recovery:apply", "roles:write", "history:read"];
    let made = bench.own("POST", "/v1/api-keys", json!({"name": "some", "permissions": permissions, "app_ids": ["another"]})).await.text("token");
    for (path, body) in &asks {
        assert_eq!(bench.call(&made, "POST", path, body.clone()).await.status, 403, "{path}");
    }
    assert_eq!(bench.call(&made, "GET", "/v1/recoveries", Value::Null).await.status, 403);
    // Another tenant's thing is as missing as one that never was.
    let (_, stranger) = bench.tenant("other").await;
    let ask = async |id: &str| bench.call(&stranger, "POST", "/v1/recovery/preview", json!({"to": bench.at(), "id": id})).await;
    let (theirs, none) = (ask(&role).await, ask("0123456789abcdef0123456789abcdef").await);
    assert_eq!((theirs.status, &theirs.body), (404, &none.body));
    let far = json!({"event": event, "skip": u64::MAX});
    assert_eq!(bench.own("POST", "/v1/undo/preview", far).await.body["things"], json!([]));
}
