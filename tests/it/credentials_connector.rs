//! The shipped catalog: sound, unique, wide enough; and what cannot be put.

use std::collections::BTreeSet;

use keyledger::credentials::Subject;
use keyledger::credentials::connector::{Connector, State, decide, shipped};
use keyledger::kernel::{Refusal, StreamId, Version};

const NEW: Subject = Subject { stream: StreamId([1; 16]), version: Version::ZERO };

#[test]
fn the_catalog_is_sound_and_wide() {
    let all = shipped().unwrap();
    let names: BTreeSet<_> = all.iter().map(|c| (c.unified_api.clone(), c.service_id.clone())).collect();
    let apis: BTreeSet<_> = all.iter().map(|c| &c.unified_api).collect();
    assert_eq!(names.len(), all.len(), "ids are unique");
    assert!(all.len() >= 40 && apis.len() >= 8, "{} services over {} APIs", all.len(), apis.len());
    for connector in all {
        let name = format!("{}+{}", connector.unified_api, connector.service_id);
        assert_eq!(connector.check(), Ok(()), "{name}");
        assert!(connector.docs.starts_with("https://") && connector.website.starts_with("https://"), "{name}");
        let fixture = format!("{}/tests/fixtures/exchanges/{name}.json", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(connector.oauth.is_some(), std::path::Path::new(&fixture).exists(), "{name}: exactly those with OAuth have a fixture");
    }
}

fn pipedrive() -> Connector {
    shipped().unwrap().into_iter().find(|c| c.service_id == "pipedrive" && c.unified_api == "crm").unwrap()
}

/// One way to make a connector unsound, and the field that is named.
type Break = (fn(&mut Connector), &'static str);

#[test]
fn an_unsound_connector_is_refused_by_field() {
    let breaks: [Break; 8] = [
        (|c| c.unified_api = "a/b".into(), "unified_api"),
        (|c| c.service_id = String::new(), "service_id"),
        (|c| c.status = "dead".into(), "status"),
        (|c| c.form_fields[0].field_type = "colour".into(), "form_fields.0"),
        (|c| c.form_fields = vec![c.form_fields[0].clone(); 2], "form_fields.1"),
        (|c| c.oauth = None, "oauth"),
        (|c| c.oauth.as_mut().unwrap().token_url = "https://{client_secret}.example.com".into(), "oauth.token_url"),
        (|c| c.settings_required_for_authorization.push("nothing".into()), "settings_required_for_authorization"),
    ];
    for (spoil, expected) in breaks {
        let mut connector = pipedrive();
        spoil(&mut connector);
        match decide(NEW, &State::Absent, connector) {
            Err(Refusal::Invalid { field, .. }) => assert_eq!(field, expected),
            _ => panic!("{expected} was not refused"),
        }
    }
}

#[test]
fn putting_the_same_again_writes_nothing() {
    let live = State::Live(Box::new(pipedrive()));
    assert!(decide(Subject { version: Version(1), ..NEW }, &live, pipedrive()).unwrap().writes.is_empty());
    let plan = decide(NEW, &State::Absent, pipedrive()).unwrap();
    assert_eq!((plan.writes.len(), plan.writes[0].takes.len()), (1, 1));
}
