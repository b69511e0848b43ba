//! The verbs that shred. Each shows what would die, until it is confirmed.

use super::nouns::Noun;
use super::verb::{Flag, Sort, Takes, Verb};

const REASON: Flag = Flag::text("reason", "reason", "TEXT", "Why; needed to carry it out");
const PREVIEW: Flag = Flag::text("preview", "preview", "ID", "Carry out what a preview of this id showed");
const CONFIRM: Flag = Flag::text("confirm", "confirm", "WORD", "Carry it out: the word that the preview shows");

pub(super) const SHRED: Noun = Noun {
    name: "shred",
    about: "Destroy keys for ever, so that nothing can be read any more; without --preview or --confirm, only show what would die",
    value: "TENANT",
    given: "Its name",
    known_by: None,
    columns: &["shredded", "id", "confirm", "notice"],
    verbs: &[
        Verb {
            name: "secret",
            about: "Shred one version of a secret of a credential",
            path: "shred",
            takes: Takes::New("credential", "CREDENTIAL"),
            flags: &[
                Flag::text("name", "secret", "NAME", "The name of the secret, such as access_token").required(),
                Flag::of("version", "version", "VERSION", Sort::Number, "Which version [default: that in use]"),
                REASON,
                PREVIEW,
                CONFIRM,
            ],
            repeatable: false,
            ..Verb::POST
        },
        Verb {
            name: "thing",
            about: "Shred a thing by its id, all that is known of it; what is in use is deleted first",
            path: "shred",
            takes: Takes::New("thing", "ID"),
            flags: &[REASON, PREVIEW, CONFIRM],
            repeatable: false,
            ..Verb::POST
        },
        Verb {
            name: "consumer",
            about: "Shred a consumer and all of its connections, deleted ones too",
            path: "shred",
            takes: Takes::New("consumer", "CONSUMER"),
            flags: &[Flag::text("app", "app", "APP", "The application that it belongs to").required(), REASON, PREVIEW, CONFIRM],
            repeatable: false,
            ..Verb::POST
        },
        Verb {
            name: "tenant",
            about: "Ask for a tenant's end; another person has to approve it, and then it waits",
            path: "tenants/{}/shred",
            flags: &[
                REASON,
                Flag::of("wait-seconds", "wait_seconds", "SECONDS", Sort::Number, "How long it waits after the approval, 3600 at least [default: 604800]"),
                Flag::text("confirm", "confirm", "TENANT", "Ask for it: the tenant's name once more"),
            ],
            repeatable: false,
            ..Verb::POST
        },
        Verb {
            name: "approve",
            about: "Approve a tenant's end that somebody else asked for",
            path: "tenants/{}/shred/approve",
            repeatable: false,
            ..Verb::POST
        },
        Verb { name: "cancel", about: "Let a tenant stay whose end was asked for", path: "tenants/{}/shred/cancel", repeatable: false, ..Verb::POST },
    ],
};
