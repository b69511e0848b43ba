//! Random steps of a client, and of the world around it.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::model::{Body, Exchange, Target};
use crate::model_connection::MASK;

/// One step of a sequence.
#[derive(Clone, Debug)]
pub enum Step {
    Ask(Ask),
    /// The request of so many steps ago once more, to the letter.
    Again(usize),
    /// The vault fetches tokens by itself.
    Exchange(Place, Exchange),
    Restart,
    Tick(i64),
}

/// A consumer and a service.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub consumer: &'static str,
    pub service: (&'static str, &'static str),
}

/// What the caller claims to have seen.
#[derive(Clone, Debug)]
pub enum Guard {
    None,
    Right,
    Off(u64),
    Text(&'static str),
}

/// Where the caller wants to go on in a list.
#[derive(Clone, Debug)]
pub enum Cursor {
    None,
    Latest,
    Text(&'static str),
}

/// What is wrong with the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Caller {
    Fine,
    WrongToken,
    NoToken,
    NoApp,
    NoConsumer,
    LongConsumer,
}

/// A request, but for what depends on answers before it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub target: Target,
    pub consumer: &'static str,
    pub service: (&'static str, &'static str),
    pub query: Vec<(&'static str, String)>,
    pub cursor: Cursor,
    pub body: Body,
    pub guard: Guard,
    pub idempotency: Option<&'static str>,
    pub caller: Caller,
}

fn consumer() -> impl Strategy<Value = &'static str> {
    prop_oneof![10 => Just("ann"), 2 => Just("anna"), 2 => Just("bob")]
}

/// An API key beside an open field, client credentials with and without further fields, the same service in two families, and none at all.
fn place() -> impl Strategy<Value = Place> {
    let service = prop_oneof![
        10 => Just(("crm", "activecampaign")),
        12 => Just(("hris", "personio")),
        4 => Just(("ecommerce", "commercetools")),
        2 => Just(("crm", "close")),
        1 => Just(("lead", "close")),
        3 => Just(("crm", "pipedrive")),
        1 => Just(("crm", "nothing")),
    ];
    (consumer(), service).prop_map(|(consumer, service)| Place { consumer, service })
}

/// A secret is told by its beginning: it may stand in no answer.
fn hush() -> impl Strategy<Value = Value> {
    (0..40_u8).prop_map(|n| json!(format!("hush-{n}")))
}

fn setting() -> impl Strategy<Value = (String, Value)> {
    let open = select(&["client_id", "base_url", "region", "cloud", "project_key"][..]);
    let open_value = prop_oneof![6 => (0..9_u8).prop_map(|n| json!(format!("open-{n}"))), 1 => Just(json!("")), 1 => Just(json!(MASK)),
        1 => Just(json!(7)), 1 => Just(json!({"k": [1, null, 2.5]})), 6 => Just(Value::Null)];
    let secret = select(&["client_secret", "api_key", "undeclared", "settings.api_key"][..]);
    let secret_value = prop_oneof![6 => hush(), 3 => Just(json!(MASK)), 1 => Just(json!(7)), 1 => Just(json!({"hush-": "hush-"})), 2 => Just(json!("")), 6 => Just(Value::Null)];
    let odd = prop_oneof![Just(String::new()), Just("x".repeat(128)), Just("x".repeat(129)), Just("a\nb".to_owned())];
    prop_oneof![
        30 => (open.prop_map(str::to_owned), open_value),
        30 => (secret.prop_map(str::to_owned), secret_value),
        1 => (odd, hush()),
    ]
}

/// All that any of the services asks for.
fn whole(secret: Value) -> Value {
    let mut settings = json!({"client_id": "open", "base_url": "https://x.example.com", "region": "europe-west1", "cloud": "gcp", "project_key": "open"});
    settings["client_secret"] = secret.clone();
    settings["api_key"] = secret;
    settings
}

fn settings() -> impl Strategy<Value = Value> {
    let some = vec(setting(), 0..4).prop_map(|settings| Value::Object(settings.into_iter().collect()));
    let whole = hush().prop_map(whole);
    let many = (select(&[0, 20, 60][..]), select(&[40, 64, 65][..]))
        .prop_map(|(from, count)| Value::Object((from..from + count).map(|n| (format!("more{n}"), json!("hush-more"))).collect()));
    let removed = vec(select(&["client_id", "client_secret", "api_key", "base_url"][..]), 1..4)
        .prop_map(|ids| Value::Object(ids.into_iter().map(|id| (id.to_owned(), Value::Null)).collect()));
    let wrong = prop_oneof![Just(Value::Null), Just(json!(["hush-list"]))];
    prop_oneof![12 => some, 10 => whole, 10 => removed, 2 => many, 1 => wrong]
}

/// Data that is free by contract.
fn free() -> impl Strategy<Value = Value> {
    free_of(13)
}

/// So deep that with what is around it the limit is just kept.
fn free_of(depth: usize) -> impl Strategy<Value = Value> {
    let deepest = (0..depth).fold(json!([]), |inner, _| json!([inner]));
    prop_oneof![6 => Just(Value::Null), 8 => (0..9_u8).prop_map(|n| json!({"plan": n, "a": {"b": ["c", null]}})), 4 => any::<f64>().prop_map(|f| json!({"é\"\\": f})),
        2 => Just(json!({"deep": deepest})), 1 => Just(json!("text")), 1 => Just(json!(-7))]
}

/// A list of such data.
fn free_list() -> impl Strategy<Value = Value> {
    prop_oneof![4 => vec(free_of(12), 0..3).prop_map(Value::Array), 1 => free_of(12)]
}

fn members(parts: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>())
}

fn sound(value: &Value) -> Body {
    Body { text: value.to_string(), sound: true }
}

/// A body that fits its route mostly; else one that fits none, or none.
fn body(fitting: impl Strategy<Value = Value>) -> impl Strategy<Value = Body> {
    let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(16), "]".repeat(16));
    let bad = [
        "{",
        "hush-text",
        "[]",
        "null",
        "7",
        "\"hush-text\"",
        "{\"enabled\":true,\"enabled\":false}",
        "{\"metadata\":{\"a\":1,\"a\":\"hush-2\"}}",
        "{} {}",
        "{\"metadata\":1e999}",
        "{\"hush-name\":tru}",
    ];
    let bad = bad.map(str::to_owned).into_iter().chain([deep]).map(|text| Body { text, sound: false }).collect::<Vec<_>>();
    let empty = ["", "  \n"].map(|text| Body { text: text.to_owned(), sound: true }).to_vec();
    let large = sound(&json!({"metadata": "x".repeat(66_000)}));
    let fitting = fitting.prop_map(|value| sound(&value));
    prop_oneof![90 => fitting, 5 => select(empty), 5 => select(bad), 1 => Just(large)]
}

fn update() -> impl Strategy<Value = Value> {
    let enabled = prop_oneof![12 => any::<bool>().prop_map(|on| json!(on)), 1 => Just(Value::Null), 1 => Just(json!("hush-wrong"))];
    let rest = (weighted(0.15, free_list()), weighted(0.15, free_list()), weighted(0.1, Just(json!("crm+whole"))));
    (weighted(0.3, enabled), weighted(0.75, settings()), weighted(0.3, free()), rest).prop_map(
        |(enabled, settings, metadata, (configuration, mappings, id))| {
            members(vec![
                ("enabled", enabled),
                ("settings", settings),
                ("metadata", metadata),
                ("configuration", configuration),
                ("custom_mappings", mappings),
                ("id", id.clone()),
                ("form_fields", id),
            ])
        },
    )
}

fn import() -> impl Strategy<Value = Value> {
    let token = || prop_oneof![40 => hush(), 1 => Just(json!("")), 1 => Just(json!(7)), 2 => Just(Value::Null)];
    let good = select(vec![json!("2026-05-04T14:05:00Z"), json!("2026-05-04T14:05:00.250+02:00"), Value::Null]);
    let issued = prop_oneof![12 => good, 1 => Just(json!("hush-day"))];
    let seconds = prop_oneof![16 => (0..9000_i64).prop_map(|n| json!(n)), 1 => Just(Value::Null), 1 => select(vec![json!(-1), json!(1.5), json!("hush-9")])];
    let parts = (weighted(0.7, token()), weighted(0.4, token()), weighted(0.3, issued), weighted(0.5, seconds), weighted(0.02, hush()));
    let credentials = parts.prop_map(|(access, refresh, issued, seconds, extra)| {
        members(vec![("access_token", access), ("refresh_token", refresh), ("issued_at", issued), ("expires_in", seconds), ("hush-extra", extra)])
    });
    let credentials = prop_oneof![20 => credentials, 1 => Just(Value::Null), 1 => Just(json!(["hush-list"]))];
    (weighted(0.85, credentials), weighted(0.3, settings()), weighted(0.3, free()), weighted(0.2, Just(json!("ann")))).prop_map(
        |(credentials, settings, metadata, extra)| {
            members(vec![("credentials", credentials), ("settings", settings), ("metadata", metadata), ("consumer_id", extra)])
        },
    )
}

fn of_consumer(named: bool) -> impl Strategy<Value = Value> {
    let odd = select(vec![json!(""), json!("a/b"), json!("x".repeat(256)), json!("a\tb"), json!(7), Value::Null]);
    let id = prop_oneof![16 => select(&["ann", "anna", "bob"][..]).prop_map(|id| json!(id)), 1 => odd];
    let extra = weighted(0.04, hush());
    (weighted(if named { 0.95 } else { 0.03 }, id), weighted(0.6, free()), extra)
        .prop_map(|(id, metadata, extra)| members(vec![("consumer_id", id), ("metadata", metadata), ("hush-extra", extra)]))
}

/// Most of a case happens at one place.
fn near(home: Place) -> impl Strategy<Value = Place> {
    prop_oneof![3 => Just(home), 2 => place()]
}

fn ask(home: Place) -> impl Strategy<Value = Ask> {
    let with = (
        prop_oneof![24 => Just(Guard::None), 3 => Just(Guard::Right), 2 => (1..3_u64).prop_map(Guard::Off), 1 => select(&["*", "W/\"1\"", "1", "\"01\"", "\"+1\"", ""][..]).prop_map(Guard::Text)],
        weighted(0.35, prop_oneof![8 => select(&["k1", "k1", "k2"][..]), 1 => Just("two words")]),
        prop_oneof![30 => Just(Caller::Fine), 1 => select(&[Caller::WrongToken, Caller::NoToken, Caller::NoApp, Caller::NoConsumer, Caller::LongConsumer][..])],
    );
    (near(home), what(), with).prop_map(|(place, (method, target, query, cursor, body), (guard, idempotency, caller))| {
        let target = at(target, place);
        Ask { method, target, consumer: place.consumer, service: place.service, query, cursor, body, guard, idempotency, caller }
    })
}

type What = (&'static str, Target, Vec<(&'static str, String)>, Cursor, Body);

/// Method, path, query and body; the place is filled in later.
fn what() -> impl Strategy<Value = What> {
    let plain = |method, target: Target| move |body| (method, target.clone(), Vec::new(), Cursor::None, body);
    let none = || Just(Body { text: String::new(), sound: true });
    let (connection, import_to) = (Target::Connection("", ""), Target::Import("", ""));
    let query = |name, values: &'static [&'static str], odds| weighted(odds, select(values).prop_map(move |value| (name, value.to_owned())));
    let list = (query("api", &["crm", "lead", "nothing", ""], 0.4), query("configured", &["true", "True", "true", "false", "false", "maybe"], 0.7));
    let list = list.prop_map(|(api, configured)| {
        ("GET", Target::Connections, api.into_iter().chain(configured).collect(), Cursor::None, Body { text: String::new(), sound: true })
    });
    let cursor = prop_oneof![4 => Just(Cursor::None), 6 => Just(Cursor::Latest), 1 => select(&["nonsense", "AmFubg", "AWFubg="][..]).prop_map(Cursor::Text)];
    let limit = query("limit", &["1", "1", "1", "1", "2", "2", "2", "3", "200", "0", "201", "x"], 0.8);
    let filters = (query("filter[consumer_id]", &["an", "anna", "nn", "x"], 0.2), query("filter[search]", &["nn", "b", "x"], 0.2));
    let page = (limit, filters, cursor).prop_map(|(limit, (prefix, search), cursor)| {
        ("GET", Target::Consumers, limit.into_iter().chain(prefix).chain(search).collect(), cursor, Body { text: String::new(), sound: true })
    });
    let checked = prop_oneof![6 => none(), 1 => body(Just(json!({"any": 1})))];
    prop_oneof![
        60 => body(update()).prop_map(plain("PATCH", connection.clone())),
        9 => body(update()).prop_map(plain("POST", connection.clone())),
        42 => body(import()).prop_map(plain("POST", import_to.clone())),
        1 => Just(sound(&json!({"metadata": "x".repeat(263_000)}))).prop_map(plain("POST", import_to)),
        9 => checked.prop_map(plain("POST", Target::Validate("", ""))),
        7 => none().prop_map(plain("DELETE", connection.clone())),
        8 => none().prop_map(plain("GET", connection)),
        8 => list,
        12 => body(of_consumer(true)).prop_map(plain("POST", Target::Consumers)),
        8 => body(of_consumer(false)).prop_map(plain("PATCH", Target::Consumer(""))),
        4 => none().prop_map(plain("GET", Target::Consumer(""))),
        5 => none().prop_map(plain("DELETE", Target::Consumer(""))),
        18 => page,
        1 => select(&["GET", "PUT", "DELETE"][..]).prop_flat_map(move |method| none().prop_map(plain(method, Target::Nothing))),
        1 => none().prop_map(plain("PUT", Target::Connections)),
    ]
}

fn step(home: Place) -> impl Strategy<Value = Step> {
    let lifetime = weighted(0.7, 0..9000_i64);
    let outcome = prop_oneof![2 => lifetime.prop_map(|lifetime| Exchange::Tokens { lifetime }), 2 => Just(Exchange::Failed), 1 => Just(Exchange::Lost)];
    prop_oneof![
        50 => ask(home).prop_map(Step::Ask),
        4 => (1..4_usize).prop_map(Step::Again),
        7 => (near(home), outcome).prop_map(|(place, outcome)| Step::Exchange(place, outcome)),
        1 => Just(Step::Restart),
        8 => (1..600_000_i64).prop_map(Step::Tick),
    ]
}

/// The same sort of target, at the place.
fn at(target: Target, place: Place) -> Target {
    let (api, service) = place.service;
    match target {
        Target::Connection(..) => Target::Connection(api, service),
        Target::Import(..) => Target::Import(api, service),
        // Of a service that speaks OAuth it calls the service: others test that.
        Target::Validate(..) if ["personio", "commercetools", "pipedrive"].contains(&service) => Target::Validate("crm", "activecampaign"),
        Target::Validate(..) => Target::Validate(api, service),
        Target::Consumer(_) => Target::Consumer(place.consumer),
        other => other,
    }
}

/// A request by a caller who does all right.
pub fn plain(method: &'static str, target: Target, home: Place, body: &Value) -> Step {
    let (target, body, guard, caller) = (at(target, home), sound(body), Guard::None, Caller::Fine);
    Step::Ask(Ask {
        method,
        target,
        consumer: home.consumer,
        service: home.service,
        query: Vec::new(),
        cursor: Cursor::None,
        body,
        guard,
        idempotency: None,
        caller,
    })
}

/// Everything is entered at the place.
pub fn enter(home: Place) -> Step {
    plain("PATCH", Target::Connection("", ""), home, &json!({"settings": whole(json!("hush-first"))}))
}

/// Thirty steps at most; one that shrinks away is no step.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let steps = |home| (weighted(0.7, Just(enter(home))), vec(weighted(0.9, step(home)), 29));
    place().prop_flat_map(steps).prop_map(|(first, steps)| std::iter::once(first).chain(steps).flatten().collect())
}
