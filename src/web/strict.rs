//! One pass over the bytes of a JSON text, before anything is made of them: one value, no member twice, not too deep; nothing is kept.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::body::BodyError;
use super::limits::{JSON_DEPTH, SHOWN_NAME};

/// Checks the bytes.
pub fn check(bytes: &[u8]) -> Result<(), BodyError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut seen = Seen { path: Vec::new(), fault: None };
    let read = Strict(&mut seen).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (read, seen.fault) {
        (Ok(()), _) => Ok(()),
        (Err(_), fault) => Err(fault.unwrap_or(BodyError::NotJson)),
    }
}

/// A step from a value to one inside it.
enum Step {
    Item(usize),
    Member(String),
}

struct Seen {
    path: Vec<Step>,
    fault: Option<BodyError>,
}

impl Seen {
    fn path_to(&self, name: &str) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Item(index) => push_item(&mut path, *index),
                Step::Member(name) => push_member(&mut path, name),
            }
        }
        push_member(&mut path, name);
        path
    }
}

/// Adds `[3]`.
pub(super) fn push_item(path: &mut String, index: usize) {
    path.push('[');
    path.push_str(&index.to_string());
    path.push(']');
}

/// Adds a member's name, if it looks like one: a caller may have put anything there, a secret included.
pub(super) fn push_member(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    match name.get(..SHOWN_NAME) {
        _ if !plain => path.push('*'),
        Some(shown) if shown.len() < name.len() => {
            path.push_str(shown);
            path.push('…');
        }
        _ => path.push_str(name),
    }
}

/// Visits a value and keeps nothing of it.
struct Strict<'a>(&'a mut Seen);

impl Strict<'_> {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.0.path.len() < JSON_DEPTH {
            return Ok(());
        }
        self.0.fault = Some(BodyError::TooDeep { limit: JSON_DEPTH });
        Err(E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.enter()?;
        for index in 0.. {
            self.0.path.push(Step::Item(index));
            let item = items.next_element_seed(Strict(self.0))?;
            self.0.path.pop();
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                self.0.fault = Some(BodyError::DuplicateKey { path: self.0.path_to(&name) });
                return Err(A::Error::custom("a member stands twice"));
            }
            self.0.path.push(Step::Member(name));
            members.next_value_seed(Strict(self.0))?;
            if let Some(Step::Member(name)) = self.0.path.pop() {
                names.insert(name);
            }
        }
        Ok(())
    }
}
