//! The rules of connections without a log: which settings are taken, what a connection lacks, and what an event leaves behind.

use std::collections::BTreeSet;

use keyledger::credentials::Subject;
use keyledger::credentials::connection::{Changes, Command, Connection, Context, Key, MAX_SETTINGS, Outcome, Phase, State, Tokens, decide, evolve, fresh};
use keyledger::credentials::connector::{Connector, shipped};
use keyledger::kernel::*;
use serde_json::{Value, json};

use crate::log_bench::{START, change, key as data_key, submission};
use crate::vault_bench::settings;

const STREAM: StreamId = StreamId([2; 16]);

fn connector(api: &str, service: &str) -> Connector {
    shipped().unwrap().into_iter().find(|connector| connector.unified_api == api && connector.service_id == service).unwrap()
}

/// One connection, and the service that it leads to.
struct Life {
    connector: Connector,
    state: State,
    position: u64,
}

impl Life {
    fn of(connector: Connector) -> Self {
        let key = Key { app: "app".into(), consumer: "c".into(), unified_api: connector.unified_api.clone(), service_id: connector.service_id.clone() };
        let subject = Subject { stream: STREAM, version: Version(1) };
        let context = Context { subject, now: Moment::from_millis(START), connector: &connector, supplied: &|_| false };
        let state = fresh(key, StreamId([1; 16]), &context);
        Self { connector, state, position: 1 }
    }

    /// Decides, and folds what was decided, one second later each time. Gives the class of each event.
    fn send(&mut self, command: Command) -> Result<Vec<Class>, Refusal> {
        let now = Moment::from_millis(START).plus_seconds(i64::try_from(self.position).unwrap());
        let subject = Subject { stream: STREAM, version: Version(self.position) };
        let plan = decide(&Context { subject, now, connector: &self.connector, supplied: &|_| false }, &self.state, command)?;
        let mut classes = Vec::new();
        for write in plan.writes {
            self.position += 1;
            let secrets = write.secrets.iter().zip(0..).map(|((name, _), slot)| {
                let batch = u8::try_from(self.position % 256).unwrap();
                SealedSecret { name: name.clone(), key: data_key(batch, slot), fingerprint: Fingerprint([0; 16]) }
            });
            let header = submission(&[change(2, 0)], None).drafts.remove(0).header;
            let position = Position(self.position);
            let header = Header { position, version: Version(self.position), recorded_at: now, class: write.class, secrets: secrets.collect(), ..header };
            self.state = evolve(std::mem::take(&mut self.state), &header, write.event);
            classes.push(write.class);
        }
        Ok(classes)
    }

    fn update(&mut self, given: &[(&str, Value)]) -> Result<Vec<Class>, Refusal> {
        self.send(Command::Update(settings(given)))
    }

    fn import(&mut self, access: Option<&str>, refresh: Option<&str>) -> Result<Vec<Class>, Refusal> {
        let tokens = Tokens { access: access.map(Secret::from), refresh: refresh.map(Secret::from), ..Tokens::default() };
        self.send(Command::Import { tokens, changes: Changes::default() })
    }

    fn live(&self) -> &Connection {
        match &self.state {
            State::Live(live) => live,
            other => panic!("{other:?}"),
        }
    }

    fn ids(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        (self.live().settings.keys().map(String::as_str).collect(), self.live().sealed.keys().map(String::as_str).collect())
    }
}

#[test]
fn a_setting_is_a_fact_or_a_secret_and_never_both() {
    let mut life = Life::of(connector("crm", "activecampaign"));
    life.update(&[("base_url", json!("https://x.example.com")), ("api_key", json!("k"))]).unwrap();
    assert_eq!(life.ids(), (["base_url"].into(), ["api_key"].into()));
    // The connector was put anew: what was a fact is a secret from now on, and the other way round.
    for field in &mut life.connector.form_fields {
        field.sensitive = !field.sensitive;
    }
    life.update(&[("base_url", json!("https://y.example.com")), ("api_key", json!("l"))]).unwrap();
    assert_eq!(life.ids(), (["api_key"].into(), ["base_url"].into()));
    life.send(Command::Update(Changes { settings: [("api_key".to_owned(), None), ("base_url".to_owned(), None)].into(), ..Changes::default() })).unwrap();
    assert_eq!((life.ids(), life.live().phase), ((BTreeSet::new(), BTreeSet::new()), Phase::Added));
}

#[test]
fn an_id_of_a_setting_is_held_at_its_edges() {
    let mut life = Life::of(connector("crm", "activecampaign"));
    life.update(&[(&"i".repeat(128), json!("v"))]).unwrap();
    for bad in ["", "a\nb", "a\u{7f}", "a\u{85}b", &"i".repeat(129)] {
        assert!(matches!(life.update(&[(bad, json!("v"))]), Err(Refusal::Invalid { field, .. }) if field == "settings"), "{bad:?}");
    }
}

#[test]
fn a_connection_has_64_settings_at_most() {
    let limit = Err(Refusal::Limit { what: "settings of a connection", limit: 64 });
    let ids: Vec<String> = (0..65).map(|number| format!("s{number:02}")).collect();
    let given = |from: usize, to: usize| ids[from..to].iter().map(|id| (id.as_str(), json!("v"))).collect::<Vec<_>>();
    let removed = |from: usize, to: usize| {
        let settings = ids[from..to].iter().map(|id| (id.clone(), None)).collect();
        Command::Update(Changes { settings, ..Changes::default() })
    };
    let mut life = Life::of(connector("crm", "activecampaign"));
    assert_eq!(life.update(&given(0, 65)), limit, "at once");
    assert_eq!(life.send(removed(0, 65)), limit, "removals count as well");
    life.update(&given(0, 64)).unwrap();
    assert_eq!(life.update(&given(64, 65)), limit, "one after the other");
    life.send(removed(0, 1)).unwrap();
    life.update(&given(64, 65)).unwrap();
    assert_eq!(life.live().sealed.len(), 64);
}

#[test]
fn an_empty_fact_is_as_good_as_none() {
    let mut life = Life::of(connector("crm", "activecampaign"));
    for (value, phase) in [(json!(""), Phase::Added), (json!(null), Phase::Added), (json!(false), Phase::Callable), (json!("x"), Phase::Callable)] {
        life.update(&[("api_key", json!("k")), ("base_url", value.clone())]).unwrap();
        assert_eq!(life.live().phase, phase, "{value}");
    }
}

#[test]
fn a_phase_follows_from_what_is_there() {
    let mut life = Life::of(Connector { settings_required_for_authorization: vec!["api_key".into()], ..connector("crm", "activecampaign") });
    life.update(&[("base_url", json!("https://x.example.com"))]).unwrap();
    assert_eq!(life.live().phase, Phase::Added, "what an authorization needs is needed without one as well");

    let mut connector = connector("crm", "pipedrive");
    connector.form_fields[0].required = true;
    connector.settings_required_for_authorization.clear();
    let field = connector.form_fields[0].id.clone();
    for field in &mut connector.form_fields[1..] {
        field.required = false;
    }
    let mut life = Life::of(connector);
    life.update(&[]).unwrap();
    assert_eq!(life.live().phase, Phase::Added);
    life.import(None, Some("r")).unwrap();
    assert_eq!(life.live().phase, Phase::Authorized, "a refresh token alone authorizes");
    life.connector.form_fields[0].sensitive = false;
    life.update(&[(&field, json!("v"))]).unwrap();
    assert_eq!((life.live().settings.len(), life.live().phase), (1, Phase::Callable));
    life.send(Command::Update(Changes { settings: [(field, None)].into(), ..Changes::default() })).unwrap();
    assert_eq!(life.live().phase, Phase::Authorized, "what is removed is missing again");
}

#[test]
fn an_import_keeps_the_token_that_it_does_not_bring_and_ends_a_failure() {
    let mut life = Life::of(connector("hris", "personio"));
    life.update(&[("client_id", json!("i")), ("client_secret", json!("s"))]).unwrap();
    life.send(Command::StartExchange(keyledger::credentials::connection::Want::Begin)).unwrap();
    let intent = Position(life.position);
    life.send(Command::FinishExchange { intent, outcome: Outcome::Lost { cause: "a test".into() }, confirm: None }).unwrap();
    assert!(life.live().failure.as_ref().is_some_and(|failure| failure.lost));
    life.import(Some("a"), Some("r")).unwrap();
    assert_eq!((life.live().failure.as_ref(), life.live().phase), (None, Phase::Callable));
    let refresh = life.live().refresh.clone();
    life.import(Some("b"), None).unwrap();
    assert_eq!((life.live().refresh.clone(), life.live().access.as_ref().unwrap().secret.position), (refresh, Position(life.position)));
    assert!(life.live().refresh.is_some());
}

#[test]
fn a_token_is_held_at_its_edge() {
    let mut life = Life::of(connector("crm", "pipedrive"));
    let (edge, over) = ("t".repeat(MAX_SECRET), "t".repeat(MAX_SECRET + 1));
    life.import(Some(&edge), Some(&edge)).unwrap();
    assert!(matches!(life.import(Some(&over), None), Err(Refusal::Invalid { field, .. }) if field == "credentials.access_token"));
    assert!(matches!(life.import(None, Some(&over)), Err(Refusal::Invalid { field, .. }) if field == "credentials.refresh_token"));
}

#[test]
fn only_a_change_moves_the_time_of_the_last_change() {
    let mut life = Life::of(connector("crm", "activecampaign"));
    life.update(&[("base_url", json!("https://x.example.com")), ("api_key", json!("k"))]).unwrap();
    let changed = life.live().updated_at;
    assert_eq!(life.send(Command::Validate), Ok(vec![Class::Observation]), "the phase is as it was");
    assert_eq!(life.live().updated_at, changed);
    // A connector that asks for more: the same command finds another phase, and that is a change.
    life.connector.settings_required_for_authorization.push("account".into());
    assert_eq!(life.send(Command::Validate), Ok(vec![Class::Change]));
    assert!(life.live().phase == Phase::Added && life.live().updated_at > changed);
}

#[test]
fn a_connection_starts_where_its_service_asks_for_nothing() {
    let nothing = |connector: Connector| Connector { form_fields: vec![], settings_required_for_authorization: vec![], ..connector };
    assert_eq!(Life::of(nothing(connector("crm", "activecampaign"))).live().phase, Phase::Callable);
    assert_eq!(Life::of(nothing(connector("crm", "pipedrive"))).live().phase, Phase::Added, "OAuth needs a token first");
    assert_eq!(Life::of(connector("crm", "activecampaign")).live().phase, Phase::Added);
}

#[test]
fn a_secret_that_is_sent_again_counts_once() {
    let mut life = Life::of(connector("crm", "pipedrive"));
    let all: Vec<(String, Value)> = (0..MAX_SETTINGS).map(|number| (format!("secret{number}"), json!("v"))).collect();
    let given: Vec<(&str, Value)> = all.iter().map(|(id, value)| (id.as_str(), value.clone())).collect();
    life.update(&given).unwrap();
    life.update(&given).unwrap();
    life.update(&[("secret7", json!("another"))]).unwrap();
    assert_eq!(life.live().sealed.len(), MAX_SETTINGS);
    assert!(matches!(life.update(&[("one more", json!("v"))]), Err(Refusal::Limit { .. })));
}

#[test]
fn an_empty_secret_is_no_secret() {
    let mut life = Life::of(connector("crm", "activecampaign"));
    life.update(&[("base_url", json!("https://x.example.com")), ("api_key", json!(""))]).unwrap();
    assert_eq!((life.live().sealed.len(), life.live().phase), (0, Phase::Added));
    life.update(&[("api_key", json!("k"))]).unwrap();
    assert_eq!((life.live().sealed.len(), life.live().phase), (1, Phase::Callable));
    life.update(&[("api_key", json!(""))]).unwrap();
    assert_eq!((life.live().sealed.len(), life.live().phase), (0, Phase::Added), "an emptied field is cleared");
}

#[test]
fn a_late_result_of_an_older_exchange_leaves_the_newer_flight_alone() {
    let mut life = Life::of(connector("hris", "personio"));
    life.update(&[("client_id", json!("i")), ("client_secret", json!("s"))]).unwrap();
    life.send(Command::StartExchange(keyledger::credentials::connection::Want::Begin)).unwrap();
    let older = Position(life.position);
    life.send(Command::FinishExchange { intent: older, outcome: Outcome::Lost { cause: "a test".into() }, confirm: None }).unwrap();
    life.send(Command::StartExchange(keyledger::credentials::connection::Want::Begin)).unwrap();
    let newer = Position(life.position);
    let tokens = Tokens { access: Some(Secret::from("late")), ..Tokens::default() };
    life.send(Command::FinishExchange { intent: older, outcome: Outcome::Tokens(tokens), confirm: None }).unwrap();
    assert_eq!(life.live().flight.as_ref().map(|flight| flight.intent), Some(newer));
    assert!(life.live().access.is_some(), "and yet it is kept");
}
