//! The part of a life that services and users lead: authorizations, confirmations, consent, calls, refusals and revocations.

use std::sync::Arc;

use keyledger::credentials::connection::{Calls, Command as Act, Flow, Key, Outcome, RevokeOutcome, Tokens, Want};
use keyledger::kernel::{FlowId, Json, Secret, StreamId};
use serde_json::json;

use crate::all_kinds_life::{Life, act};

const REFUSED: u16 = 400;

fn tokens() -> Tokens {
    Tokens { access: Some(Secret::from("access-qzxwvkj-late")), refresh: Some(Secret::from("refresh-qzxwvkj-late")), ..Tokens::default() }
}

fn flow(id: u8, nonce: Option<&str>) -> Flow {
    Flow { id: FlowId([id; 16]), redirect_uri: Some("https://app.example.com/done".into()), nonce: nonce.map(str::to_owned), here: true }
}

pub async fn lead(life: &mut Life, consumer: &str) {
    let vault = Arc::clone(&life.running.as_ref().unwrap().vault);
    let owner = vault.authenticate(&life.token).unwrap();
    let key = Key { app: "app".into(), consumer: consumer.into(), unified_api: "crm".into(), service_id: "pipedrive".into() };
    let token = life.token.clone();
    let body = json!({"settings": {"client_id": "an id", "client_secret": "setting-qzxwvkj-late"}});
    life.ask_as(&token, consumer, "POST", "/vault/connections/crm/pipedrive", body).await;
    life.ask_as(&token, consumer, "POST", "/vault/sessions", json!({"settings": {"session_length": "1d"}})).await;
    let connection: StreamId = vault.views().connection(owner.tenant, &key).unwrap();

    act(&vault, &owner, &key, || Act::Authorize(flow(1, None))).await;
    life.note();
    act(&vault, &owner, &key, || Act::EndAuthorization { flow: FlowId([1; 16]), cause: "access_denied".into() }).await;
    act(&vault, &owner, &key, || Act::Authorize(flow(2, Some("a nonce")))).await;
    life.note();
    let (intent, _) = act(&vault, &owner, &key, || Act::StartExchange(Want::Code(FlowId([2; 16])))).await;
    let (confirming, confirm) = vault.draw_confirm(connection);
    act(&vault, &owner, &key, || Act::FinishExchange { intent, outcome: Outcome::Tokens(tokens()), confirm: confirm.clone() }).await;
    life.note();
    let (hash_key, hash) = vault.hash_confirm(connection, &confirming.unwrap());
    act(&vault, &owner, &key, || Act::Confirm { key: hash_key, hash }).await;
    act(&vault, &owner, &key, || Act::Consent { id: "con_1".into(), granted: true, resources: Json::from(&json!("*")) }).await;
    let calls = || vec![Calls { method: "GET".into(), host: "api.example.com".into(), status: Some(500), count: 2, withheld: false, last: vault.now() }];
    act(&vault, &owner, &key, || Act::Use(calls())).await;
    life.note();
    let (intent, _) = act(&vault, &owner, &key, || Act::StartExchange(Want::Renew)).await;
    let refused =
        || Outcome::Failed { cause: "the service answered 400: invalid_grant".into(), passing: false, status: Some(REFUSED), retry_at: None, client: false };
    act(&vault, &owner, &key, || Act::FinishExchange { intent, outcome: refused(), confirm: None }).await;
    life.note();
    let body = json!({"credentials": {"access_token": "access-qzxwvkj-late"}});
    life.ask_as(&token, consumer, "POST", "/vault/connections/crm/pipedrive/import", body).await;
    let (revocation, _) = act(&vault, &owner, &key, || Act::Revoke).await;
    act(&vault, &owner, &key, || Act::FinishRevoke(RevokeOutcome { revocation, status: Some(200), cause: None })).await;
    life.note();
    life.secrets.extend(["access-qzxwvkj-late", "refresh-qzxwvkj-late", "setting-qzxwvkj-late"].map(str::to_owned));
}
