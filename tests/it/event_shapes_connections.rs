//! Examples of the events that came with outbound OAuth: new types, and older ones that came to say more.

use keyledger::credentials::Verifier;
use keyledger::credentials::connection::{Calls, Confirm, Event, Flow, Grant, Key, Phase, RevokeOutcome};
use keyledger::credentials::connector::GrantType;
use keyledger::kernel::*;
use serde_json::json;

use crate::event_shapes::at;

pub fn later() -> Vec<Event> {
    let key = Key { app: "app".into(), consumer: "acme".into(), unified_api: "crm".into(), service_id: "pipedrive".into() };
    let (intent, flow) = (Position(41), FlowId([3; 16]));
    let confirm = Confirm { verifier: Verifier::new([5; 16], [6; 32]), until: at(1800) };
    let redirect_uri = Some("https://app.example.com/done".to_owned());
    vec![
        Event::Created { key, consumer: StreamId([1; 16]), phase: Phase::Added, grant: Some(GrantType::AuthorizationCode) },
        Event::AuthorizationBegun(Flow { id: flow, redirect_uri, nonce: Some("a nonce".into()), here: true }),
        Event::AuthorizationEnded { flow, cause: "access_denied".into() },
        Event::ExchangeStarted { grant: Grant::AuthorizationCode, parent: Some(Position(40)), flow: Some(flow) },
        Event::Exchanged { intent, issued_at: Some(at(1)), expires_at: None, scope: None, phase: Phase::Added, confirm: Some(confirm), late: true },
        Event::ExchangeFailed {
            intent,
            cause: "the service answered 429".into(),
            passing: true,
            status: Some(429),
            retry_at: Some(at(60)),
            phase: Some(Phase::Invalid),
            client: false,
        },
        Event::ExchangeFailed {
            intent,
            cause: "the service answered 401: invalid_client".into(),
            passing: false,
            status: Some(401),
            retry_at: None,
            phase: None,
            client: true,
        },
        Event::Confirmed { exchange: Position(42), phase: Phase::Callable },
        Event::Dropped { cause: "the service answered 400: invalid_grant".into(), phase: Phase::Added },
        Event::Revoked { phase: Phase::Added },
        Event::RevocationTold(RevokeOutcome { revocation: Position(50), status: Some(200), cause: Some("a cause".into()) }),
        Event::Consented { id: "con_1".into(), granted: true, resources: Json::from(&json!({"crm.contacts": {"name": {"read": true, "write": false}}})) },
        Event::Used { calls: vec![Calls { method: "GET".into(), host: "api.example.com".into(), status: Some(200), count: 3, last: at(7), withheld: false }] },
        Event::Used { calls: vec![Calls { method: "POST".into(), host: "api.example.com".into(), status: None, count: 1, last: at(8), withheld: true }] },
    ]
}
