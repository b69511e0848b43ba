//! Names that may be taken once.

/// A name to take or free, in clear: the shell turns it into a keyed hash before anything is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Version of the normalisation that made `value`, so that a better one can come without freeing old names.
    pub normalisation: u8,
    /// Of the kind that owns the name space.
    pub kind: &'static str,
    /// The name space: its parts, such as an application and a consumer.
    pub scope: Vec<String>,
    /// The name, normalised.
    pub value: String,
}

impl Claim {
    /// A claim under normalisation 1 (the value exactly as it is).
    pub fn exact(kind: &'static str, scope: &[&str], value: &str) -> Self {
        Self { normalisation: 1, kind, scope: scope.iter().map(ToString::to_string).collect(), value: value.to_owned() }
    }
}

/// What an event does to a claim, as it stands in the clear header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOp {
    /// Taken by the event's stream; refused when another holds it.
    Take([u8; 32]),
    /// Freed by the event's stream.
    Free([u8; 32]),
}
