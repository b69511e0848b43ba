//! Events as rows of CSV (RFC 4180), of which a spreadsheet runs nothing.

use std::fmt::Write;

use super::Event;
use crate::kernel::Position;

const NAMES: [&str; 22] = [
    "position",
    "recorded_at",
    "epoch",
    "kind",
    "type",
    "class",
    "decision",
    "stream",
    "version",
    "content_version",
    "actor",
    "ip",
    "agent",
    "rule",
    "reason",
    "request_id",
    "group",
    "causation",
    "secrets",
    "facts",
    "facts_commitment",
    "leaf",
];

/// The first line.
pub(super) fn names(text: &mut String) {
    text.push_str(&NAMES.join(","));
    text.push_str("\r\n");
}

/// An event.
pub(super) fn row(text: &mut String, event: &Event) {
    let known = |value: &Option<String>| value.clone().unwrap_or_default();
    let secrets: Vec<&str> = event.secrets.iter().map(|secret| secret.name.as_str()).collect();
    let cells: [String; NAMES.len()] = [
        event.position.to_string(),
        event.recorded_at.clone(),
        event.epoch.to_string(),
        event.kind.clone(),
        event.event_type.clone(),
        event.class.to_owned(),
        event.decision.to_owned(),
        event.stream.clone(),
        event.version.to_string(),
        event.content_version.to_string(),
        event.actor.clone(),
        known(&event.meta.ip),
        known(&event.meta.agent),
        known(&event.meta.rule),
        known(&event.meta.reason),
        known(&event.meta.request_id),
        event.group.id.clone(),
        event.causation.to_string(),
        secrets.join(" "),
        event.facts.as_ref().map(ToString::to_string).unwrap_or_default(),
        event.facts_commitment.clone(),
        event.leaf.clone(),
    ];
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        put(text, cell);
    }
    text.push_str("\r\n");
}

/// The last line.
pub(super) fn end(text: &mut String, events: u64, through: Position) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# end: {events} events through position {through}\r\n");
}

/// A cell: quoted where it has to be, and never the beginning of a formula, also not behind blanks that a spreadsheet passes over.
fn put(text: &mut String, cell: &str) {
    let formula = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) || cell.starts_with(['\t', '\r', '\n']);
    let guard = if formula { "'" } else { "" };
    if formula || cell.contains([',', '"', '\r', '\n', '#']) {
        let _ = write!(text, "\"{guard}{}\"", cell.replace('"', "\"\""));
    } else {
        text.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_cell_is_a_formula() {
        let cell = |cell: &str| {
            let mut text = String::new();
            put(&mut text, cell);
            text
        };
        for (plain, written) in [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("  =1", "\"'  =1\""),
            ("\t=1", "\"'\t=1\""),
            ("\r", "\"'\r\""),
            ("＝1", "\"'＝1\""),
            ("a=b", "a=b"),
            ("# end: 1", "\"# end: 1\""),
        ] {
            assert_eq!(cell(plain), written, "{plain:?}");
        }
    }
}
