//! House rules: the order of imports between rooms, banned names, and the sizes of files and functions.

use std::fs;
use std::path::{Path, PathBuf};

/// From the inside out: each room imports only rooms before it.
const ROOMS: [&str; 15] =
    ["kernel", "seal", "keyring", "log", "credentials", "views", "egress", "vault", "oauth", "proxy", "jobs", "web", "surfaces", "server", "cli"];
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
/// What must not be written, and what to write instead.
const BANNED: [(&str, &str); 7] = [
    ("SystemTime::now", "take a kernel::Clock"),
    ("Timestamp::now", "take a kernel::Clock"),
    ("Utc::now", "take a kernel::Clock"),
    ("getrandom::", "take a kernel::Random"),
    ("mod utils", "name the room after what it holds"),
    ("mod helpers", "name the room after what it holds"),
    ("mod common", "name the room after what it holds"),
];
/// The only files that may read the clock and draw randomness.
const SOURCES: [&str; 2] = ["src/kernel/clock.rs", "src/kernel/random.rs"];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty());
    files.into_iter().map(|path| (path.strip_prefix(root).unwrap().display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// The rooms that a source names after `crate::`.
fn named_rooms(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
}

fn wrong_imports(file: &str, text: &str) -> Vec<String> {
    let room = file.trim_start_matches("src/").split(['/', '.']).next().unwrap();
    let Some(place) = ROOMS.iter().position(|name| *name == room) else { return Vec::new() };
    let wrong = named_rooms(text).filter(|named| ROOMS.iter().position(|name| name == named).is_some_and(|other| other > place));
    wrong.map(|named| format!("{file}: `{room}` may not import `{named}`, which comes after it")).collect()
}

#[test]
fn rooms_import_only_rooms_before_them() {
    let wrong: Vec<String> = sources(&["src"]).iter().flat_map(|(file, text)| wrong_imports(file, text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(wrong_imports("src/kernel/x.rs", "use crate::seal::Key;").len(), 1, "the check itself works");
}

#[test]
fn every_room_of_the_source_is_in_the_order() {
    for (file, _) in sources(&["src"]) {
        let room = file.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_owned();
        assert!(ROOMS.contains(&room.as_str()) || ["lib", "main"].contains(&room.as_str()), "{file}: add `{room}` to ROOMS, at its place");
    }
}

#[test]
fn banned_words_do_not_stand_in_the_source() {
    let mut wrong = Vec::new();
    for (file, text) in sources(&["src"]).iter().filter(|(file, _)| !SOURCES.contains(&file.as_str())) {
        for (banned, instead) in BANNED {
            if text.contains(banned) {
                wrong.push(format!("{file}: `{banned}`: {instead}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    for (file, text) in sources(&["src", "tests", "benches"]) {
        assert!(text.starts_with("//!") || text.starts_with("#!"), "{file}: open with a `//!` line that says what it is for");
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES, "{file}: {lines} lines; the limit is {FILE_LINES}: move a wall");
    }
}

/// Name and length of each function: from its `fn` line to the closing brace at the same depth of indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(super) fn ", "pub(crate) fn ", "const fn ", "pub const fn "]
            .iter()
            .any(|opening| code.starts_with(opening))
            && !code.ends_with(';');
        if is_function {
            let close = format!("{}}}", " ".repeat(line.len() - code.len()));
            if let Some(length) = lines[start..].iter().position(|line| *line == close) {
                found.push((code.to_owned(), length + 1));
            }
        }
    }
    found
}

#[test]
fn functions_stay_short() {
    let mut wrong = Vec::new();
    for (file, text) in sources(&["src", "tests", "benches"]) {
        for (name, lines) in functions(&text).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES) {
            wrong.push(format!("{file}: {lines} lines, the limit is {FUNCTION_LINES}: {name}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(functions("fn a() {\n    x\n}\n"), [("fn a() {".to_owned(), 3)], "the check itself works");
}
