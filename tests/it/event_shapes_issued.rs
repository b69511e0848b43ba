//! Examples of the events of principals, of what the vault issues, and of what it notes about them.

use keyledger::credentials::attempts::{self, Denial, Failure};
use keyledger::credentials::connection::Notice;
use keyledger::credentials::issued::{Event as Secret, KnownToken, SecretId};
use keyledger::credentials::provider_key::{self, Provider, Written};
use keyledger::credentials::usage::{self, Use};
use keyledger::credentials::{
    AnyEvent, PasswordHash, To, Verifier, api_client, api_key, application, organization, recovery, role, session, tenant, user, user_application, webhook,
};
use keyledger::kernel::*;

fn at(seconds: i64) -> Moment {
    Moment::from_millis(1_777_903_500_000).plus_seconds(seconds)
}

fn token(word: &str) -> KnownToken {
    KnownToken { id: "0123456789abcdef01234567".into(), short: format!("{word}_01234567"), verifier: Verifier::new([5; 16], [6; 32]) }
}

fn secret_ref(name: &str) -> SecretRef {
    SecretRef { position: Position(7), name: name.into(), version: Version(2), fingerprint: Fingerprint([9; 16]) }
}

fn roles() -> Vec<RoleRef> {
    vec![RoleRef::Builtin(Builtin::Auditor), RoleRef::Own(StreamId([0x42; 16]))]
}

/// What happens to the secrets of each kind that has some: all of it once, under the kind that comes to hand.
fn secrets() -> Vec<AnyEvent> {
    let id = SecretId([7; 12]);
    let all = || {
        vec![
            Secret::Rotated { tokens: vec![token("klkey")], grace_until: Some(at(3600)) },
            Secret::RotationFinished,
            Secret::RotationTakenBack,
            Secret::TokenRevoked { token: id, expires_at: at(60) },
            Secret::TokensRevoked,
        ]
    };
    let mut events: Vec<AnyEvent> = all().into_iter().map(|event| api_key::Event::Secret(event).into()).collect();
    events.extend(all().into_iter().map(|event| AnyEvent::from(application::Event::Secret(event))));
    events.extend(all().into_iter().map(|event| AnyEvent::from(user_application::Event::Secret(event))));
    events.extend(all().into_iter().map(|event| AnyEvent::from(api_client::Event::Secret(event))));
    events.extend(all().into_iter().skip(3).map(|event| AnyEvent::from(session::Event::Secret(event))));
    events
}

fn members() -> Vec<AnyEvent> {
    let password = PasswordHash { key: [1; 16], cost: (19_456, 2, 1), salt: [2; 16], hash: [3; 32] };
    let changes =
        user::Changes { login: Some("ann".into()), name: Some("Ann".into()), email: Some(To { to: None }), roles: Some(roles()), blocked: Some(true) };
    vec![
        tenant::Event::Suspended.into(),
        tenant::Event::Resumed.into(),
        user::Event::Updated(changes).into(),
        user::Event::PasswordSet { password }.into(),
        user::Event::SignedOut.into(),
        user::Event::Deleted.into(),
        role::Event::Created { name: "On call".into(), permissions: vec!["audit:read".into(), "custom:x".into()] }.into(),
        role::Event::Updated { name: Some("Night".into()), permissions: Some(vec![]) }.into(),
        role::Event::Deleted.into(),
        organization::Event::Created { name: "Acme".into() }.into(),
        organization::Event::Renamed { name: "Acme Ltd".into() }.into(),
        organization::Event::Deleted.into(),
        session::Event::Created { user: StreamId([3; 16]), token: token("klses"), expires_at: at(43_200) }.into(),
        session::Event::Ended.into(),
    ]
}

fn credentials() -> Vec<AnyEvent> {
    let changes = api_key::Changes {
        name: Some("a key".into()),
        blocked: Some(true),
        permissions: Some(vec!["accessFtp".into()]),
        emails: Some(vec!["a@example.com".into()]),
        organizations: Some(vec![StreamId([4; 16])]),
        labels: Some(vec!["label".into()]),
        dns_name: Some(To { to: Some("host".into()) }),
        app_ids: Some(vec!["app".into()]),
        expires_at: Some(To { to: Some(at(86_400)) }),
    };
    let profile = application::Profile { name: "Billing".into(), roles: roles(), permissions: vec!["audit:read".into()], app_ids: vec!["app".into()] };
    let other =
        application::Changes { name: Some("Billing 2".into()), roles: Some(roles()), permissions: Some(vec![]), app_ids: Some(vec![]), blocked: Some(false) };
    let written = || Written { name: Some(To { to: Some("work".into()) }), organization: Some(To { to: None }), mask: Some("sk-…wxyz".into()) };
    let (user, tokens) = (StreamId([3; 16]), vec![token("klcli"), token("kloac")]);
    vec![
        api_key::Event::Updated(changes).into(),
        api_key::Event::Deleted.into(),
        application::Event::Created { profile, token: token("klapp") }.into(),
        application::Event::Updated(other).into(),
        application::Event::Deleted.into(),
        user_application::Event::Created { name: "app-name".into(), user, seat: 3, token: token("klapp") }.into(),
        user_application::Event::Deleted.into(),
        api_client::Event::Created { name: "backup".into(), roles: roles(), tokens }.into(),
        api_client::Event::Updated { name: Some("restore".into()), roles: Some(vec![]) }.into(),
        api_client::Event::Revealed { secrets: vec![secret_ref("secret"), secret_ref("oauth_client_secret")] }.into(),
        api_client::Event::Deleted.into(),
        provider_key::Event::Created { user, provider: Provider::AzureOpenAi, written: written() }.into(),
        provider_key::Event::Replaced { written: written() }.into(),
        provider_key::Event::Updated { written: written() }.into(),
        provider_key::Event::Revealed { secret: secret_ref("api_key") }.into(),
        provider_key::Event::Deleted.into(),
    ]
}

fn notes() -> Vec<AnyEvent> {
    let tried = Tried([8; 16]);
    let failure = Failure { tried, principal: Some(StreamId([3; 16])), count: 4, last: at(1), ip: Some("203.0.113.7".into()) };
    let denial = Denial { principal: StreamId([3; 16]), permission: "audit:read".into(), count: 2, last: at(2) };
    vec![
        usage::Event::Created.into(),
        usage::Event::Used { uses: vec![Use { secret: SecretId([7; 12]), count: 12, last: at(3) }] }.into(),
        attempts::Event::Created.into(),
        attempts::Event::Failed { failures: vec![failure] }.into(),
        attempts::Event::Cleared { tried, principal: None }.into(),
        attempts::Event::Denied { denials: vec![denial] }.into(),
    ]
}

fn webhooks() -> Vec<AnyEvent> {
    use webhook::{Changes, Dead, Event, Failed, Letter, Profile, Progressed, Replay, Retry};
    let profile = Profile { url: "https://example.com/hook".into(), events: vec!["*".into()], description: Some("billing".into()), enabled: true };
    let changes = Changes {
        url: Some("https://example.org/hook".into()),
        events: Some(vec!["vault.connection.callable".into()]),
        description: Some(To { to: None }),
        enabled: Some(false),
    };
    let letter = |position, notice| Letter { position: Position(position), notice };
    let failed = Failed { at: at(5), cause: "the endpoint answered 500".into(), status: Some(500) };
    let progressed = Progressed {
        turn: 1,
        through: Position(90),
        delivered: 3,
        done: vec![letter(80, Notice::Created)],
        retrying: vec![Retry { letter: letter(81, Notice::Callable), tries: 2, due: at(30) }],
        dead: vec![Dead { letter: letter(82, Notice::RefreshPending), tries: 9, last: failed.clone() }],
        failures: 4,
        delivered_at: Some(at(4)),
        failed: Some(failed),
    };
    vec![
        Event::Created { profile, seat: 3 }.into(),
        Event::Updated(changes).into(),
        Event::Rotated { grace_until: Some(at(86_400)) }.into(),
        Event::Gone { cause: "the endpoint answered 410 Gone".into() }.into(),
        Event::Progressed(progressed).into(),
        Event::Replayed(Replay::Positions(vec![Position(82)])).into(),
        Event::Tested { status: Some(404), cause: Some("the endpoint answered 404".into()) }.into(),
        Event::Deleted.into(),
    ]
}

pub fn examples() -> Vec<AnyEvent> {
    let newer = webhooks().into_iter().chain(crate::event_shapes_integrations::examples());
    members().into_iter().chain(credentials()).chain(secrets()).chain(notes()).chain(newer).collect()
}

/// Whether an example above stands for the event's type. The matches have no other arm, so that a new type without an example does not compile.
#[allow(clippy::match_same_arms, reason = "one arm for each kind")]
pub fn is_known(event: &AnyEvent) -> bool {
    let secret = |event: &Secret| match event {
        Secret::Rotated { .. } | Secret::RotationFinished | Secret::RotationTakenBack | Secret::TokenRevoked { .. } | Secret::TokensRevoked => true,
    };
    match event {
        AnyEvent::Tenant(event) => match event {
            tenant::Event::Created { .. } | tenant::Event::Suspended | tenant::Event::Resumed => true,
            tenant::Event::ShredRequested { .. } | tenant::Event::ShredApproved { .. } | tenant::Event::ShredCancelled | tenant::Event::Shredded => true,
        },
        AnyEvent::User(event) => match event {
            user::Event::Created(_) | user::Event::Updated(_) | user::Event::PasswordSet { .. } | user::Event::SignedOut | user::Event::Deleted => true,
        },
        AnyEvent::Role(role::Event::Created { .. } | role::Event::Updated { .. } | role::Event::Deleted) => true,
        AnyEvent::Organization(organization::Event::Created { .. } | organization::Event::Renamed { .. } | organization::Event::Deleted) => true,
        AnyEvent::Session(session::Event::Created { .. } | session::Event::Ended) => true,
        AnyEvent::Session(session::Event::Secret(event))
        | AnyEvent::ApiKey(api_key::Event::Secret(event))
        | AnyEvent::Application(application::Event::Secret(event))
        | AnyEvent::UserApplication(user_application::Event::Secret(event))
        | AnyEvent::ApiClient(api_client::Event::Secret(event)) => secret(event),
        AnyEvent::ApiKey(api_key::Event::Created { .. } | api_key::Event::Updated(_) | api_key::Event::Deleted) => true,
        AnyEvent::Application(application::Event::Created { .. } | application::Event::Updated(_) | application::Event::Deleted) => true,
        AnyEvent::UserApplication(user_application::Event::Created { .. } | user_application::Event::Deleted) => true,
        AnyEvent::ApiClient(event) => match event {
            api_client::Event::Secret(event) => secret(event),
            api_client::Event::Created { .. } | api_client::Event::Updated { .. } | api_client::Event::Revealed { .. } | api_client::Event::Deleted => true,
        },
        AnyEvent::ProviderKey(event) => match event {
            provider_key::Event::Created { .. } | provider_key::Event::Replaced { .. } | provider_key::Event::Updated { .. } => true,
            provider_key::Event::Revealed { .. } | provider_key::Event::Deleted => true,
        },
        AnyEvent::Usage(usage::Event::Created | usage::Event::Used { .. }) => true,
        AnyEvent::Attempts(event) => match event {
            attempts::Event::Created | attempts::Event::Failed { .. } | attempts::Event::Cleared { .. } | attempts::Event::Denied { .. } => true,
        },
        AnyEvent::Integration(event) => crate::event_shapes_integrations::is_known(event),
        AnyEvent::Webhook(event) => match event {
            webhook::Event::Created { .. } | webhook::Event::Updated(_) | webhook::Event::Rotated { .. } | webhook::Event::Gone { .. } => true,
            webhook::Event::Progressed(_) | webhook::Event::Replayed(_) | webhook::Event::Tested { .. } | webhook::Event::Deleted => true,
        },
        AnyEvent::Reverted(_) | AnyEvent::Recovery(recovery::Event::Started { .. } | recovery::Event::Finished { .. }) => true,
        AnyEvent::Vault(_) | AnyEvent::Connector(_) | AnyEvent::Consumer(_) | AnyEvent::Connection(_) => false,
    }
}
