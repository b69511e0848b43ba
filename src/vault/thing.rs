//! One thing around one of its events: only its own events are folded, from the nearest place where its state is known.

use super::{Vault, VaultError};
use crate::credentials::{AnyEvent, AnyState};
use crate::kernel::{Header, Position, StreamId};
use crate::seal::Record;
use crate::views::Opener;

/// How many of a thing's events are held at a time.
const AT_ONCE: usize = 256;

/// A thing's states before and after an event.
#[derive(Debug)]
pub struct Around {
    /// The event's clear header.
    pub header: Header,
    /// What happened.
    pub event: AnyEvent,
    /// The state before it.
    pub before: AnyState,
    /// The state after it.
    pub after: AnyState,
}

impl Vault {
    /// A thing around its event at a position; `None` when none of its events stands there, or it was shredded. `near` is the same thing around an earlier event, if
    /// that is known: the fold goes on from there.
    pub async fn thing_at(&self, stream: StreamId, position: Position, near: Option<&Around>) -> Result<Option<Around>, VaultError> {
        let Some(record) = self.own_event(stream, position).await? else { return Ok(None) };
        let (mut state, from) = self.known_before(stream, position, near);
        // Its events in between, latest first, by their places only: there may be many.
        let (mut between, mut at) = (Vec::new(), record.header().previous);
        while at > from {
            between.push(at);
            let Some(earlier) = self.own_event(stream, at).await? else { return Ok(None) };
            at = earlier.header().previous;
        }
        between.reverse();
        for places in between.chunks(AT_ONCE) {
            for earlier in self.log.fetch(places).await? {
                let Some(event) = self.opener.event(&earlier)? else { return Ok(None) };
                state = state.evolve(earlier.header(), event);
            }
        }
        let Some(opened) = self.opener.open_unless_shredded(&record)? else { return Ok(None) };
        let event = Opener::stored(&record, &opened.json)?.event;
        let after = state.clone().evolve(record.header(), opened.stored.event);
        Ok(Some(Around { header: record.header().clone(), event, before: state, after }))
    }

    async fn own_event(&self, stream: StreamId, position: Position) -> Result<Option<Record>, VaultError> {
        Ok(self.log.fetch(&[position]).await?.pop().filter(|record| record.header().stream == stream))
    }

    /// The latest known state that is not later than just before a position, and the place of its last event.
    fn known_before(&self, stream: StreamId, position: Position, near: Option<&Around>) -> (AnyState, Position) {
        let root = self.views.root_before(Position(position.0.saturating_sub(1)));
        let kept = root.views.thing(stream).map(|entry| (&entry.state, entry.last));
        let near = near.filter(|near| near.header.stream == stream && near.header.position < position).map(|near| (&near.after, near.header.position));
        let known = near.into_iter().chain(kept).max_by_key(|(_, last)| *last);
        known.map_or((AnyState::Absent, Position::ZERO), |(state, last)| (state.clone(), last))
    }
}
