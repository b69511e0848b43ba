//! Answers for people: lists as tables within 100 columns, single things as names and values.

use std::fmt::Write;

use console::{Alignment, measure_text_width, pad_str};
use serde_json::{Map, Value};

use crate::kernel::StreamId;

/// The columns of a terminal that a table takes at most.
const WIDTH: usize = 100;
const GAP: usize = 2;

/// A text without the characters that could steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Object(_) | Value::Number(_) => value.to_string(),
    }
}

/// A member of a thing; what changed, by the names of its fields, and where it was done from.
fn member(thing: &Value, column: &str) -> String {
    match column {
        "changed" => {
            let fields = thing.get("changes").and_then(Value::as_array).into_iter().flatten().filter_map(|change| change.get("field"));
            fields.map(scalar).collect::<Vec<_>>().join(", ")
        }
        "ip" => scalar(thing.pointer("/meta/ip").unwrap_or(&Value::Null)),
        _ => scalar(thing.get(column).unwrap_or(&Value::Null)),
    }
}

/// One thing as a line, for those that come one by one.
pub(super) fn line(columns: &[&str], thing: &Value) -> String {
    let cells = columns.iter().map(|column| cell(thing, column)).collect::<Vec<_>>();
    cells.join(&" ".repeat(GAP)) + "\n"
}

/// What a table shows of a member.
fn cell(thing: &Value, column: &str) -> String {
    match member(thing, column) {
        // The fraction of a second is for those who look at one thing.
        text if column.ends_with("_at") => text.split_once('.').map_or(text.clone(), |(second, _)| format!("{second}Z")),
        // So is the whole id of something else.
        text if column != "id" && text.parse::<StreamId>().is_ok() => text.chars().take(8).chain(['…']).collect(),
        text if text.is_empty() => "-".into(),
        text => text,
    }
}

/// A table of one line a thing; where it would be too wide, the widest text gives way.
pub(super) fn list(columns: &[&str], things: &[Value]) -> String {
    let title = |column: &&str| column.replace('_', " ").to_uppercase();
    let mut rows = vec![columns.iter().map(title).collect::<Vec<_>>()];
    rows.extend(things.iter().map(|thing| columns.iter().map(|column| cell(thing, column)).collect()));
    let widest = |place: usize| rows.iter().filter_map(|row| row.get(place)).map(|text| measure_text_width(text)).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns.len()).map(widest).collect();
    // Ids and times are of no use in part.
    let gives_way = |column: &str| column != "id" && !column.ends_with("_at");
    while widths.iter().sum::<usize>() + GAP * columns.len().saturating_sub(1) > WIDTH {
        let texts = columns.iter().zip(&mut widths).filter(|(column, _)| gives_way(column));
        let Some(width) = texts.map(|(_, width)| width).max() else { break };
        *width = width.saturating_sub(1);
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| pad_str(cell, *width, Alignment::Left, Some("…")));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end());
    }
    text
}

/// One thing: a name and a value a line, those of `first` first; what lies within stands below its name, further in.
pub(super) fn thing(first: &[&str], members: &Map<String, Value>) -> String {
    let mut text = String::new();
    put(&mut text, first, members, 0);
    text
}

fn put(text: &mut String, first: &[&str], members: &Map<String, Value>, indent: usize) {
    let place = |name: &str| first.iter().position(|known| *known == name).unwrap_or(first.len());
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by_key(|(name, value)| (value.is_object() || is_objects(value), place(name)));
    let width = sorted.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in sorted {
        let title = name.replace('_', " ");
        let objects: Vec<&Map<String, Value>> = match value {
            Value::Object(one) => vec![one],
            Value::Array(items) if is_objects(value) => items.iter().filter_map(Value::as_object).collect(),
            _ => {
                let _ = writeln!(text, "{:indent$}{title:width$}  {}", "", wrapped(value, indent + width + GAP));
                continue;
            }
        };
        for object in objects {
            let _ = writeln!(text, "{:indent$}{title}", "");
            put(text, first, object, indent + GAP);
        }
    }
}

fn is_objects(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
}

/// A value; a long list goes on below its beginning.
fn wrapped(value: &Value, indent: usize) -> String {
    let Value::Array(items) = value else { return scalar(value) };
    if items.is_empty() {
        return "-".into();
    }
    let (mut text, mut column) = (String::new(), indent);
    for (place, item) in items.iter().enumerate() {
        let item = scalar(item) + if place + 1 < items.len() { "," } else { "" };
        let width = measure_text_width(&item);
        if place > 0 && column + 1 + width > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if place > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(&item);
        column += width;
    }
    text
}
