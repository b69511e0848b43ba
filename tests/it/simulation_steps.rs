//! One random command of any kind, on names that are few, so that they meet.

use keyledger::credentials::connection::{Changes, Command as Act, Key, Outcome, Tokens, Want};
use keyledger::credentials::provider_key::{Given as Written, Provider};
use keyledger::credentials::user::Profile;
use keyledger::credentials::webhook::Profile as Hook;
use keyledger::credentials::{AnyEvent, AnyState, Kind, PasswordHash, api_key, application, connection, connector, user};
use keyledger::kernel::*;
use keyledger::vault::{Answer, Given, VaultError, plans};
use serde_json::json;

use crate::simulation_bench::HomeBench;

/// Numbers from a seed, always the same ones (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    pub fn name(&mut self, of: &str) -> String {
        format!("{of}{}", self.below(5))
    }
}

type Done = Result<&'static str, VaultError>;

/// One of the things of a kind, deleted ones too now and then.
fn one(bench: &HomeBench, dice: &mut Dice, kind: Kind) -> StreamId {
    let views = bench.vault().views();
    let gone = dice.below(8) == 0;
    let all: Vec<StreamId> = views.listed(bench.tenant, kind, Position::ZERO).filter(|(_, entry)| gone || entry.state.is_live()).map(|(id, _)| id).collect();
    if all.is_empty() { StreamId::default() } else { *dice.pick(&all) }
}

async fn run(bench: &HomeBench, what: &'static str, decide: impl FnMut(&Given<'_>) -> Result<Plan<AnyEvent>, Refusal>) -> Done {
    let answer: Answer = bench.execute(decide).await?;
    Ok(if answer.events.is_some() { what } else { "nothing to do" })
}

pub async fn command(bench: &HomeBench, dice: &mut Dice) -> Done {
    match dice.below(12) {
        0 => users(bench, dice).await,
        1 => roles(bench, dice).await,
        2 => organizations(bench, dice).await,
        3 => api_keys(bench, dice).await,
        4 => applications(bench, dice).await,
        5 => api_clients(bench, dice).await,
        6 => of_users(bench, dice).await,
        7 => provider_keys(bench, dice).await,
        8 => webhooks(bench, dice).await,
        9 => services(bench, dice).await,
        _ => connections(bench, dice).await,
    }
}

async fn users(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id) = (&bench.owner, one(bench, dice, Kind::User));
    let roles = roles_of(bench, dice);
    match dice.below(7) {
        0 | 1 => {
            let profile = Profile { login: dice.name("u"), name: dice.name("n"), email: None, roles };
            run(bench, "user made", |given| plans::create_user(given, by, profile.clone(), None)).await
        }
        2 | 3 => {
            let login = (dice.below(3) == 0).then(|| dice.name("u"));
            let changes = user::Changes { login, name: Some(dice.name("n")), blocked: Some(dice.below(2) == 0), ..user::Changes::default() };
            run(bench, "user changed", |given| plans::update_user(given, by, id, changes.clone(), None)).await
        }
        4 => {
            let hash = PasswordHash { key: [1; 16], cost: (8, 1, 1), salt: [2; 16], hash: [u8::try_from(dice.below(200)).unwrap(); 32] };
            run(bench, "password set", |given| plans::set_password(given, by, id, &hash)).await
        }
        5 => run(bench, "user signed out", |given| plans::sign_out(given, by, id)).await,
        _ => run(bench, "user deleted", |given| plans::delete_user(given, by, id, None)).await,
    }
}

fn roles_of(bench: &HomeBench, dice: &mut Dice) -> Vec<RoleRef> {
    let role = one(bench, dice, Kind::Role);
    if dice.below(2) == 0 || role == StreamId::default() { vec![RoleRef::Builtin(Builtin::Reader)] } else { vec![RoleRef::Own(role)] }
}

async fn roles(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id) = (&bench.owner, one(bench, dice, Kind::Role));
    let permissions = vec![dice.pick(&["users:read", "audit:read", "custom:x"]).to_string()];
    let name = dice.name("Role ");
    match dice.below(4) {
        0 | 1 => run(bench, "role made", |given| plans::create_role(given, by, name.clone(), permissions.clone())).await,
        2 => run(bench, "role changed", |given| plans::update_role(given, by, id, Some(name.clone()), Some(permissions.clone()), None)).await,
        _ => run(bench, "role deleted", |given| plans::delete_role(given, by, id, None)).await,
    }
}

async fn organizations(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (name, id) = (dice.name("Org "), one(bench, dice, Kind::Organization));
    match dice.below(3) {
        0 => run(bench, "organisation made", |given| plans::create_organization(given, name.clone())).await,
        1 => run(bench, "organisation renamed", |given| plans::rename_organization(given, bench.tenant, id, name.clone(), None)).await,
        _ => run(bench, "organisation deleted", |given| plans::delete_organization(given, bench.tenant, id, None)).await,
    }
}

/// A rotation, and what ends one.
async fn rotated(bench: &HomeBench, dice: &mut Dice, id: StreamId, what: &'static str) -> Done {
    let (by, grace) = (&bench.owner, dice.below(3) * 600);
    match dice.below(4) {
        0 => run(bench, "rotation finished", |given| plans::finish_rotation(given, by, id)).await,
        1 => run(bench, "rotation taken back", |given| plans::take_back_rotation(given, by, id)).await,
        _ => run(bench, what, |given| plans::rotate(given, by, id, grace, None).map(|(plan, _)| plan)).await,
    }
}

async fn api_keys(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id) = (&bench.owner, one(bench, dice, Kind::ApiKey));
    let (owner, organization) = (one(bench, dice, Kind::User), one(bench, dice, Kind::Organization));
    let some = |id: StreamId, yes: u64| (yes == 0 && id != StreamId::default()).then_some(id);
    let dns_name = (dice.below(2) == 0).then(|| dice.name("host-"));
    match dice.below(5) {
        0 | 1 => {
            let grant = api_key::Grant {
                name: dice.name("key "),
                owner: some(owner, dice.below(2)),
                permissions: vec!["keys:verify".into()],
                emails: vec![],
                organizations: some(organization, dice.below(2)).into_iter().collect(),
                labels: vec![dice.name("l")],
                dns_name,
                app_ids: vec![],
                expires_at: None,
            };
            run(bench, "api key made", |given| plans::create_api_key(given, by, grant.clone()).map(|made| made.0)).await
        }
        2 => {
            let changes =
                api_key::Changes { name: Some(dice.name("key ")), dns_name: Some(keyledger::credentials::To { to: dns_name }), ..api_key::Changes::default() };
            run(bench, "api key changed", |given| plans::update_api_key(given, by, id, changes.clone(), None)).await
        }
        3 => rotated(bench, dice, id, "api key rotated").await,
        _ => run(bench, "api key deleted", |given| plans::delete_credential(given, by, id, Kind::ApiKey, None)).await,
    }
}

async fn applications(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id, name, roles) = (&bench.owner, one(bench, dice, Kind::Application), dice.name("App "), roles_of(bench, dice));
    match dice.below(5) {
        0 | 1 => {
            let profile = application::Profile { name, roles, permissions: vec!["audit:read".into()], app_ids: vec![] };
            run(bench, "application made", |given| plans::create_application(given, by, profile.clone()).map(|made| made.0)).await
        }
        2 => {
            let changes = application::Changes { name: Some(name), blocked: Some(dice.below(2) == 0), ..application::Changes::default() };
            run(bench, "application changed", |given| plans::update_application(given, by, id, changes.clone(), None)).await
        }
        3 => rotated(bench, dice, id, "application rotated").await,
        _ => run(bench, "application deleted", |given| plans::delete_credential(given, by, id, Kind::Application, None)).await,
    }
}

async fn api_clients(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id, name, roles) = (&bench.owner, one(bench, dice, Kind::ApiClient), dice.name("client "), roles_of(bench, dice));
    match dice.below(5) {
        0 | 1 => run(bench, "api client made", |given| plans::create_api_client(given, by, name.clone(), roles.clone()).map(|made| made.0)).await,
        2 => run(bench, "api client changed", |given| plans::update_api_client(given, by, id, (Some(name.clone()), None), None)).await,
        3 => rotated(bench, dice, id, "api client rotated").await,
        _ => run(bench, "api client deleted", |given| plans::delete_credential(given, by, id, Kind::ApiClient, None)).await,
    }
}

async fn of_users(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id, user, name) = (&bench.owner, one(bench, dice, Kind::UserApplication), one(bench, dice, Kind::User), dice.name("app-"));
    match dice.below(4) {
        0 | 1 => run(bench, "user application made", |given| plans::create_user_application(given, by, user, name.clone()).map(|made| made.0)).await,
        2 => rotated(bench, dice, id, "user application rotated").await,
        _ => run(bench, "user application deleted", |given| plans::delete_credential(given, by, id, Kind::UserApplication, None)).await,
    }
}

async fn provider_keys(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (user, provider) = (one(bench, dice, Kind::User), *dice.pick(&[Provider::OpenAi, Provider::Anthropic]));
    let (key, name, whole) = (dice.name("sk-a-provider-key-of-"), dice.name("n"), dice.below(2) == 0);
    if dice.below(4) == 0 {
        return run(bench, "provider key deleted", |given| plans::delete_provider_keys(given, bench.tenant, user, &[provider])).await;
    }
    let written = || Written { api_key: Some(Secret::from(key.as_str())), name: Some(Some(name.clone())), organization: None };
    run(bench, "provider key written", |given| plans::write_provider_keys(given, bench.tenant, user, vec![(provider, written())], whole)).await
}

async fn webhooks(bench: &HomeBench, dice: &mut Dice) -> Done {
    let (by, id) = (&bench.owner, one(bench, dice, Kind::Webhook));
    let profile = Hook { url: format!("https://example.com/{}", dice.below(5)), events: vec!["*".into()], description: None, enabled: dice.below(2) == 0 };
    match dice.below(5) {
        0 | 1 => run(bench, "webhook made", |given| plans::create_webhook(given, by, profile.clone()).map(|made| made.0)).await,
        2 => {
            let changes = keyledger::credentials::webhook::Changes { url: Some(profile.url), enabled: Some(profile.enabled), ..Default::default() };
            run(bench, "webhook changed", |given| plans::update_webhook(given, by, id, changes.clone(), None)).await
        }
        3 => run(bench, "webhook rotated", |given| plans::rotate_webhook(given, by, id, 600, None).map(|made| made.0)).await,
        _ => run(bench, "webhook deleted", |given| plans::delete_webhook(given, by, id, None)).await,
    }
}

fn service() -> connector::Connector {
    let shipped = connector::shipped().unwrap();
    shipped.into_iter().find(|connector| connector.service_id == "pipedrive").unwrap()
}

async fn services(bench: &HomeBench, dice: &mut Dice) -> Done {
    let by = &bench.owner;
    let new = connector::Connector { service_id: dice.name("own-"), name: dice.name("Own "), ..service() };
    let settings = || [("client_id".to_owned(), Some(json!("an id"))), ("client_secret".to_owned(), Some(json!(new.name)))].into();
    let named = ("crm", new.service_id.as_str());
    match dice.below(5) {
        0 | 1 => run(bench, "connector put", |given| plans::put_connector(given, bench.tenant, new.clone())).await,
        2 | 3 => run(bench, "integration put", |given| plans::put_integration(given, by, named, (true, settings()), None)).await,
        _ => run(bench, "integration deleted", |given| plans::delete_integration(given, by, named, None)).await,
    }
}

async fn connections(bench: &HomeBench, dice: &mut Dice) -> Done {
    let key = Key { app: "app".into(), consumer: dice.name("c"), unified_api: "crm".into(), service_id: dice.name("own-") };
    let (token, enabled) = (dice.name("access-token-"), dice.below(2) == 0);
    match dice.below(9) {
        0..=2 => {
            let tokens = || Tokens { access: Some(Secret::from(token.as_str())), refresh: Some(Secret::from("refresh")), ..Tokens::default() };
            run(bench, "connection imported", |given| plans::import(given, bench.tenant, &key, tokens(), Changes::default())).await
        }
        3 | 4 => {
            let settings = [("client_id".to_owned(), Some(json!(token))), ("client_secret".to_owned(), Some(json!(token)))];
            let changes = || Changes { enabled: Some(enabled), settings: settings.clone().into(), ..Changes::default() };
            run(bench, "connection changed", |given| plans::update(given, bench.tenant, &key, changes())).await
        }
        5 => run(bench, "connection deleted", |given| plans::delete_connection(given, bench.tenant, &key)).await,
        6 => run(bench, "consumer deleted", |given| plans::delete_consumer(given, bench.tenant, "app", &key.consumer)).await,
        7 => {
            let metadata = Some(Json::from(&json!({"n": token})));
            run(bench, "consumer put", |given| plans::put_consumer(given, bench.tenant, "app", &key.consumer, Some(metadata.clone()))).await
        }
        _ => {
            // One that is there: others have nothing to exchange.
            let id = one(bench, dice, Kind::Connection);
            let live = match bench.vault().views().thing(id).map(|entry| &entry.state) {
                Some(AnyState::Connection(connection::State::Live(live))) => Some(live.key.clone()),
                _ => None,
            };
            exchange(bench, dice, &live.map_or(key, |key| (*key).clone()), &token).await
        }
    }
}

async fn exchange(bench: &HomeBench, dice: &mut Dice, key: &Key, token: &str) -> Done {
    let started = bench.execute(|given| plans::upsert(given, bench.tenant, key, Act::StartExchange(Want::Renew))).await?;
    let Some((intent, _)) = started.events else { return Ok("nothing to do") };
    let views = bench.vault().views();
    let Some(stream) = views.connection(bench.tenant, key) else { return Ok("nothing to do") };
    let fails = dice.below(3) == 0;
    let outcome = || {
        let tokens = Tokens { access: Some(Secret::from(token)), refresh: Some(Secret::from(token)), ..Tokens::default() };
        if fails { Outcome::Lost { cause: "a test".into() } } else { Outcome::Tokens(tokens) }
    };
    run(bench, "connection exchanged", |given| plans::on_connection(given, stream, Act::FinishExchange { intent, outcome: outcome(), confirm: None })).await
}
