//! What a command wants written: all of it or nothing.

use super::{Claim, Class, KeyId, Position, Secret, StreamId, Version};

/// The stream state that a write or guard was decided on. There is no "any".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The content version must be exactly this; 0 for a stream that must not exist.
    Content(Version),
    /// The stream must exist, whatever its version: only for observations.
    Exists,
}

/// One event to append.
pub struct Write<E> {
    /// The thing it is about.
    pub stream: StreamId,
    /// What it was decided on.
    pub expected: Expected,
    /// Change or observation.
    pub class: Class,
    /// What happened.
    pub event: E,
    /// Values to seal, each in a box of its own.
    pub secrets: Vec<(String, Secret)>,
    /// Names that it takes.
    pub takes: Vec<Claim>,
    /// Names that it frees.
    pub frees: Vec<Claim>,
    /// Data keys that die with it.
    pub shreds: Vec<KeyId>,
}

impl<E> Write<E> {
    /// A change of content.
    pub const fn change(stream: StreamId, expected: Version, event: E) -> Self {
        Self {
            stream,
            expected: Expected::Content(expected),
            class: Class::Change,
            event,
            secrets: Vec::new(),
            takes: Vec::new(),
            frees: Vec::new(),
            shreds: Vec::new(),
        }
    }

    /// A note that leaves the content as it is.
    pub const fn observation(stream: StreamId, event: E) -> Self {
        Self {
            stream,
            expected: Expected::Exists,
            class: Class::Observation,
            event,
            secrets: Vec::new(),
            takes: Vec::new(),
            frees: Vec::new(),
            shreds: Vec::new(),
        }
    }

    /// With a value to seal.
    #[must_use]
    pub fn sealing(mut self, name: impl Into<String>, secret: Secret) -> Self {
        self.secrets.push((name.into(), secret));
        self
    }

    /// Takes a name.
    #[must_use]
    pub fn taking(mut self, claim: Claim) -> Self {
        self.takes.push(claim);
        self
    }

    /// Frees a name.
    #[must_use]
    pub fn freeing(mut self, claim: Claim) -> Self {
        self.frees.push(claim);
        self
    }
}

/// A stream that must stand where it stood, without being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The thing.
    pub stream: StreamId,
    /// Its content version.
    pub expected: Version,
}

/// Everything that one command writes, checks and claims.
pub struct Plan<E> {
    /// The events, in order; empty when the command changes nothing.
    pub writes: Vec<Write<E>>,
    /// Streams that must not have moved.
    pub guards: Vec<Guard>,
    /// Position of what caused the command; 0 for nothing.
    pub causation: Position,
}

impl<E> Plan<E> {
    /// Nothing to write: the command is already true.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { writes: Vec::new(), guards: Vec::new(), causation: Position::ZERO }
    }

    /// One event.
    #[must_use]
    pub fn of(write: Write<E>) -> Self {
        Self { writes: vec![write], guards: Vec::new(), causation: Position::ZERO }
    }

    /// The same plan with its events turned into those of a wider type.
    pub fn map<T>(self, turn: impl Fn(E) -> T) -> Plan<T> {
        let writes = self.writes.into_iter().map(|write| Write {
            stream: write.stream,
            expected: write.expected,
            class: write.class,
            event: turn(write.event),
            secrets: write.secrets,
            takes: write.takes,
            frees: write.frees,
            shreds: write.shreds,
        });
        Plan { writes: writes.collect(), guards: self.guards, causation: self.causation }
    }

    /// This plan and then the other, as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.writes.extend(other.writes);
        self.guards.extend(other.guards);
        self.causation = self.causation.max(other.causation);
        self
    }
}
