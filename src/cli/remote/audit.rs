//! `keyledger audit`: the log as an auditor reads it.

use super::nouns::Noun;
use super::verb::{Flag, Pages, Sort, Takes, Verb, Way};

const KIND: Flag = Flag::texts("kind", "kind", "KIND", "Only things of this kind, such as connection");
const ACTION: Flag = Flag::texts("action", "type", "TYPE", "Only what happened so, such as imported or revealed");
const THING: Flag = Flag::texts("thing", "stream", "ID", "Only of this thing");
const ACTOR: Flag = Flag::of("actor", "actor", "WHO", Sort::Actors, "Only by, or refused to, this user (login or id) or credential (id)");
const DECISION: Flag = Flag::of("decision", "decision", "WORD", Sort::OneOf(&["allowed", "denied"]), "Only what was let through, or refused");
const RULE: Flag = Flag::texts("rule", "rule", "RULE", "Only what this rule let through, such as role:owner");
const IP: Flag = Flag::texts("ip", "ip", "ADDRESS", "Only from this address");
const FROM: Flag = Flag::of("from", "from", "POSITION|INSTANT", Sort::Point, "From this position or instant on");
const TO: Flag = Flag::of("to", "to", "POSITION|INSTANT", Sort::Point, "Through this position, or until this instant");
const FORMAT: Flag = Flag::of("format", "format", "FORMAT", Sort::OneOf(&["jsonl", "csv"]), "A JSON object a line, or CSV [default: jsonl]");
const ORDER: Flag = Flag::of("order", "order", "ORDER", Sort::OneOf(&["desc", "asc"]), "Newest first, or oldest first [default: desc]");

pub(super) const AUDIT: Noun = Noun {
    name: "audit",
    about: "What happened: the log as an auditor reads it, refused attempts included",
    value: "",
    given: "",
    known_by: None,
    columns: &["position", "recorded_at", "kind", "type", "stream", "actor", "decision"],
    verbs: &[
        Verb {
            name: "query",
            about: "List events that fit",
            path: "events",
            flags: &[KIND, ACTION, THING, ACTOR, DECISION, RULE, IP, FROM, TO, ORDER],
            pages: Some(Pages::First(100)),
            ..Verb::LIST
        },
        Verb {
            name: "tail",
            about: "Show events as they come; a stream that is lost is taken up again where it was",
            path: "events/stream",
            takes: Takes::Nothing,
            flags: &[KIND, ACTION, THING, ACTOR, DECISION, RULE, IP, FROM],
            as_of: false,
            way: Way::Tail,
            ..Verb::READ
        },
        Verb {
            name: "export",
            about: "Write all events that fit to a file, oldest first; one that was cut off is noticed",
            path: "events/export",
            takes: Takes::Nothing,
            flags: &[FORMAT, KIND, ACTION, THING, ACTOR, DECISION, RULE, IP, FROM, TO],
            way: Way::Export,
            ..Verb::READ
        },
    ],
};
