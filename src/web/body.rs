//! Bodies, read strictly: one JSON value, no member twice, not too deep; and errors that repeat nothing of the input.

use std::collections::BTreeSet;
use std::fmt;

use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::limits::{BODY_TIMEOUT, JSON_DEPTH};

/// What is wrong with a body. The texts repeat nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive.
    #[error("the body did not arrive in time")]
    Aborted,
    /// Not one JSON value.
    #[error("the body is not JSON")]
    NotJson,
    /// Nested too deep.
    #[error("the body nests deeper than {JSON_DEPTH} levels")]
    TooDeep,
    /// A member stands twice in one object.
    #[error("an object of the body names a member twice")]
    Twice,
    /// JSON of another shape.
    #[error("the body has a member that is missing, not known, or of the wrong type")]
    Shape,
}

/// Reads a body; `None` when it is empty.
pub async fn read<T: DeserializeOwned>(body: Body, limit: usize) -> Result<Option<T>, BodyError> {
    bytes(body, limit).await?.map(|bytes| parse(&bytes)).transpose()
}

/// The bytes of a body, wiped on drop; `None` when it is empty.
pub async fn bytes(body: Body, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, BodyError> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await.map_err(|_| BodyError::Aborted)?;
    let bytes = collected.map_err(|error| if error.is::<LengthLimitError>() { BodyError::TooLarge(limit) } else { BodyError::Aborted })?.to_bytes();
    Ok((!bytes.iter().all(u8::is_ascii_whitespace)).then(|| Zeroizing::new(bytes.to_vec())))
}

/// Reads one JSON value, strictly.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    check(bytes)?;
    serde_json::from_slice(bytes).map(|Object(value)| value).map_err(|_| BodyError::Shape)
}

/// One pass over the bytes, before anything is made of them.
pub fn check(bytes: &[u8]) -> Result<(), BodyError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let checked = Strict(0).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    checked.map_err(|error| match error.to_string() {
        text if text.starts_with(DEEP) => BodyError::TooDeep,
        text if text.starts_with(TWICE) => BodyError::Twice,
        _ => BodyError::NotJson,
    })
}

/// A struct that is read from a JSON object only: serde alone would take an array of its fields as well.
pub struct Object<T>(pub T);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(std::marker::PhantomData)).map(Self)
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

const DEEP: &str = "strict: deep";
const TWICE: &str = "strict: twice";

/// Visits a value at a depth and keeps nothing.
struct Strict(usize);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.0 >= JSON_DEPTH {
            return Err(A::Error::custom(DEEP));
        }
        while items.next_element_seed(Strict(self.0 + 1))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if self.0 >= JSON_DEPTH {
            return Err(A::Error::custom(DEEP));
        }
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom(TWICE));
            }
            members.next_value_seed(Strict(self.0 + 1))?;
        }
        Ok(())
    }
}
