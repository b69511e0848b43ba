//! Turns that chance may miss: the property of `property.rs`, for sequences that are written down.

use serde_json::{Value, json};

use crate::model::{Exchange, Target};
use crate::model_connection::MASK;
use crate::property::{begin, client, run};
use crate::property_steps::{Ask, Cursor, Guard, Place, Step, enter, plain};

const PERSONIO: Place = Place { consumer: "ann", service: ("hris", "personio") };
const ACTIVE: Place = Place { consumer: "ann", service: ("crm", "activecampaign") };

fn patch(place: Place, body: &Value) -> Step {
    plain("PATCH", Target::Connection("", ""), place, body)
}

fn import(place: Place, body: &Value) -> Step {
    plain("POST", Target::Import("", ""), place, body)
}

fn get(place: Place) -> Step {
    plain("GET", Target::Connection("", ""), place, &json!({}))
}

fn with(step: Step, change: impl FnOnce(&mut Ask)) -> Step {
    match step {
        Step::Ask(mut ask) => {
            change(&mut ask);
            Step::Ask(ask)
        }
        other => other,
    }
}

fn check(turns: &[&[Step]]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = runtime.block_on(begin());
    for (number, steps) in turns.iter().enumerate() {
        let checked = runtime.block_on(run(&begun, client(), steps));
        assert!(checked.is_ok(), "turn {number}: {checked:?}");
    }
}

#[test]
fn tokens_and_failures_of_exchanges_are_as_the_model_says() {
    let access = json!({"credentials": {"access_token": "hush-a", "expires_in": 60}});
    let failed = |outcome| [enter(PERSONIO), Step::Tick(1000), Step::Exchange(PERSONIO, outcome), get(PERSONIO)];
    let anew = [Step::Exchange(PERSONIO, Exchange::Tokens { lifetime: Some(60) }), get(PERSONIO)];
    check(&[
        &[failed(Exchange::Failed).as_slice(), &[import(PERSONIO, &access)]].concat(),
        &[failed(Exchange::Lost).as_slice(), &anew].concat(),
        &[import(PERSONIO, &access), import(PERSONIO, &json!({"credentials": {"refresh_token": "hush-r"}})), Step::Restart, get(PERSONIO)],
    ]);
}

#[test]
fn settings_and_their_masks_are_as_the_model_says() {
    let mask = json!({"settings": {"api_key": MASK, "base_url": "https://y.example.com"}});
    let many = json!({"settings": (0..40).map(|n| (format!("more{n}"), json!("hush-more"))).collect::<serde_json::Map<_, _>>()});
    check(&[
        &[patch(ACTIVE, &mask), enter(ACTIVE), Step::Tick(1000), patch(ACTIVE, &mask), patch(ACTIVE, &json!({"settings": {"api_key": null}}))],
        &[enter(ACTIVE), Step::Tick(1000), plain("POST", Target::Validate("", ""), ACTIVE, &json!({})), get(ACTIVE), enter(ACTIVE)],
        &[patch(ACTIVE, &many), patch(ACTIVE, &many)],
    ]);
}

#[test]
fn consumers_and_names_are_as_the_model_says() {
    let consumer = |id: &str| plain("POST", Target::Consumers, ACTIVE, &json!({"consumer_id": id, "metadata": {"plan": id}}));
    let page = |cursor| {
        with(plain("GET", Target::Consumers, ACTIVE, &json!({})), |ask| {
            ask.query.push(("limit", "1".to_owned()));
            ask.cursor = cursor;
        })
    };
    let close = |api| patch(Place { consumer: "ann", service: (api, "close") }, &json!({"settings": {"api_key": "hush-key"}}));
    let gone = |target| plain("DELETE", target, ACTIVE, &json!({}));
    let guarded = |guard| with(enter(ACTIVE), |ask| ask.guard = guard);
    let keyed = |body: &Value| with(patch(ACTIVE, body), |ask| ask.idempotency = Some("k1"));
    let bare = plain("PATCH", Target::Consumer(""), ACTIVE, &json!({}));
    check(&[
        &[consumer("bob"), consumer("ann"), consumer("anna"), page(Cursor::None), page(Cursor::Latest), page(Cursor::Latest), bare],
        &[close("crm"), close("lead"), gone(Target::Consumer("")), close("lead"), close("crm")],
        &[enter(ACTIVE), gone(Target::Connection("", "")), enter(ACTIVE), gone(Target::Connection("", "")), gone(Target::Consumer(""))],
        &[guarded(Guard::Off(1)), guarded(Guard::Right), guarded(Guard::Off(1)), guarded(Guard::Right)],
        &[keyed(&json!({"enabled": false})), enter(ACTIVE), Step::Restart, keyed(&json!({"enabled": false})), keyed(&json!({"enabled": true}))],
    ]);
}
