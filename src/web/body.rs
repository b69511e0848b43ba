//! Bodies, read strictly: one JSON value, no member twice, not too deep; and errors that repeat nothing of the input.

use std::fmt;

use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_path_to_error::{Path, Segment};
use zeroize::Zeroizing;

use super::limits::BODY_TIMEOUT;
pub use super::strict::check;
use super::strict::{push_item, push_member};

/// What is wrong with a body. The texts repeat no value of it. A path is such as `items[3].name`; a member's name in it that is unknown
/// or not a plain identifier stands as `*`, because a caller may have put a secret there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive.
    #[error("the body did not arrive in time")]
    Aborted,
    /// Not one JSON value in UTF-8, or a number beyond every float.
    #[error("the body is not JSON")]
    NotJson,
    /// Nested too deep.
    #[error("the body nests deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A member stands twice in one object.
    #[error("{path}: the body names this member twice")]
    DuplicateKey {
        /// The member.
        path: String,
    },
    /// JSON of another shape.
    #[error("{}{problem}", prefix(path))]
    Shape {
        /// The part that is wrong; empty for the whole body.
        path: String,
        /// One of a few fixed texts.
        problem: String,
    },
}

fn prefix(path: &str) -> String {
    if path.is_empty() { "the body ".to_owned() } else { format!("{path}: ") }
}

/// Reads a body; `None` when it is empty or white space only.
pub async fn read_json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<Option<T>, BodyError> {
    bytes(body, limit).await?.map(|bytes| parse(&bytes)).transpose()
}

/// The bytes of a body, wiped on drop; `None` when it is empty or white space only.
pub async fn bytes(body: Body, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, BodyError> {
    let bytes = raw(body, limit).await?;
    Ok((!bytes.iter().all(u8::is_ascii_whitespace)).then_some(bytes))
}

/// All bytes of a body that is not ours to read, wiped on drop.
pub async fn raw(body: Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await.map_err(|_| BodyError::Aborted)?;
    let bytes = collected.map_err(|error| if error.is::<LengthLimitError>() { BodyError::TooLarge(limit) } else { BodyError::Aborted })?.to_bytes();
    Ok(Zeroizing::new(bytes.to_vec()))
}

/// Reads one JSON object, strictly.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    check(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map(|Object(value)| value).map_err(|error| shape(error.path(), error.inner()))
}

/// Reads free JSON of any shape, strictly. Integers beyond 64 bits become the nearest float.
pub fn to_value_json(bytes: &[u8]) -> Result<serde_json::Value, BodyError> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|_| BodyError::NotJson)
}

/// Our own words for an error of serde. Its text holds values of the input, so only its beginning is looked at, and of a missing
/// field the name, which comes from our own types.
fn shape(path: &Path, error: &serde_json::Error) -> BodyError {
    let mut shown = String::new();
    let text = error.to_string();
    for segment in path {
        match segment {
            Segment::Seq { index } => push_item(&mut shown, *index),
            Segment::Map { key } if text.starts_with(&format!("unknown field `{key}`")) => push_member(&mut shown, "*"),
            Segment::Map { key } => push_member(&mut shown, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let starts = |beginning: &str| text.starts_with(beginning);
    let problem = match text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')) {
        Some((name, _)) => {
            push_member(&mut shown, name);
            "is missing"
        }
        None if starts("unknown field `") => "is not known",
        None if starts("unknown variant `") => "is none of the known values",
        None if starts("invalid type: ") => "has the wrong type",
        None if starts("duplicate field `") => "is given twice",
        None if starts("invalid length ") => "has the wrong length",
        None => "has a value that is not allowed",
    };
    BodyError::Shape { path: shown, problem: problem.to_owned() }
}

/// A struct that is read from a JSON object only: serde alone would take an array of its fields as well.
pub struct Object<T>(pub T);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(std::marker::PhantomData)).map(Self)
    }
}

impl<T: serde::Serialize> serde::Serialize for Object<T> {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(out)
    }
}

struct Members<T>(std::marker::PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(members))
    }
}
