//! Examples of the events of integrations.

use keyledger::credentials::AnyEvent;
use keyledger::credentials::integration::Event;
use keyledger::kernel::*;
use serde_json::json;

pub fn examples() -> Vec<AnyEvent> {
    let settings = || [("client_id".to_owned(), Json::from(&json!("an id")))].into();
    let secret = SecretRef { position: Position(7), name: "settings.client_secret".into(), version: Version(2), fingerprint: Fingerprint([9; 16]) };
    let events = vec![
        Event::Created { unified_api: "crm".into(), service_id: "pipedrive".into(), enabled: true, settings: settings() },
        Event::Updated { enabled: Some(false), settings: settings(), removed: vec!["client_secret".into()] },
        Event::Revealed { secret },
        Event::Deleted,
    ];
    events.into_iter().map(AnyEvent::from).collect()
}

/// Whether an example above stands for the event's type. A new type without an example does not compile.
pub fn is_known(event: &Event) -> bool {
    match event {
        Event::Created { .. } | Event::Updated { .. } | Event::Revealed { .. } | Event::Deleted => true,
    }
}
