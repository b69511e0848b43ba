//! Which events are looked for. The clear header of a record decides wherever it can; only what is left is opened.

use crate::credentials::{AnyEvent, Stored, attempts};
use crate::kernel::{Header, Position, StreamId};
use crate::views::Views;

/// What a rule said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was let through, and it happened.
    Allowed,
    /// It was refused: a wrong secret, or a permission that was missing.
    Denied,
}

impl Decision {
    /// Of an event.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        let denied = header.kind == attempts::NAME && ["failed", "denied"].contains(&header.event_type.as_str());
        if denied { Self::Denied } else { Self::Allowed }
    }

    /// As our own routes name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// Which events. Of several values of one sort, one has to fit; a sort without values takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these kinds.
    pub kinds: Vec<String>,
    /// Of these types.
    pub event_types: Vec<String>,
    /// Of these things.
    pub streams: Vec<StreamId>,
    /// By these principals: a credential, or a user by whatever credential. What was refused is told of whom it was refused.
    pub actors: Vec<StreamId>,
    /// What the rules said.
    pub decision: Option<Decision>,
    /// Let through by these rules.
    pub rules: Vec<String>,
    /// From these addresses.
    pub ips: Vec<String>,
    /// From this position on, itself included.
    pub from: Position,
    /// Through this position.
    pub to: Position,
    /// Oldest first; otherwise newest first.
    pub oldest_first: bool,
}

/// What a header says to a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    No,
    Yes,
    /// The facts must be looked at.
    Open,
}

fn takes<T: PartialEq<U>, U: ?Sized>(wanted: &[T], actual: &U) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == actual)
}

impl Filter {
    /// What the clear header decides.
    pub(super) fn judge(&self, views: &Views, header: &Header) -> Verdict {
        let fits = (self.from..=self.to).contains(&header.position)
            && takes(&self.kinds, header.kind.as_str())
            && takes(&self.event_types, header.event_type.as_str())
            && takes(&self.streams, &header.stream)
            && self.decision.is_none_or(|decision| decision == Decision::of(header));
        let named = self.names(views, header.actor);
        // The vault writes what it refused: whom it refused stands in the facts.
        if !fits || !(named || header.kind == attempts::NAME) {
            return Verdict::No;
        }
        if named && self.rules.is_empty() && self.ips.is_empty() { Verdict::Yes } else { Verdict::Open }
    }

    /// What the facts decide, where the header left it open.
    pub(super) fn judge_facts(&self, views: &Views, header: &Header, stored: &Stored) -> bool {
        let (mut actors, mut ips) = (vec![header.actor], Vec::new());
        ips.extend(stored.meta.ip.as_deref());
        if let AnyEvent::Attempts(event) = &stored.event {
            match event {
                attempts::Event::Created => {}
                attempts::Event::Failed { failures } => {
                    actors.extend(failures.iter().filter_map(|failure| failure.principal));
                    ips.extend(failures.iter().filter_map(|failure| failure.ip.as_deref()));
                }
                attempts::Event::Cleared { principal, .. } => actors.extend(*principal),
                attempts::Event::Denied { denials } => actors.extend(denials.iter().map(|denial| denial.principal)),
            }
        }
        actors.into_iter().any(|actor| self.names(views, actor))
            && (self.ips.is_empty() || ips.into_iter().any(|ip| takes(&self.ips, ip)))
            && (self.rules.is_empty() || stored.meta.rule.as_deref().is_some_and(|rule| takes(&self.rules, rule)))
    }

    /// Whether an actor is one of those that are looked for, or acts as one of them.
    fn names(&self, views: &Views, actor: StreamId) -> bool {
        let user = || views.thing(actor).and_then(|entry| entry.state.acts_for());
        takes(&self.actors, &actor) || user().is_some_and(|user| self.actors.contains(&user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Class, Epoch, EventId, Group, GroupId, KeyId, Moment, TenantId, Version};

    fn header(kind: &str, event_type: &str, actor: u8) -> Header {
        Header {
            position: Position(7),
            previous: Position::ZERO,
            recorded_at: Moment::default(),
            version: Version(1),
            content_version: Version(1),
            facts_commitment: [0; 32],
            epoch: Epoch { number: 1, id: [0; 16] },
            event: EventId::default(),
            tenant: TenantId::default(),
            stream: StreamId([1; 16]),
            class: Class::Change,
            kind: kind.into(),
            event_type: event_type.into(),
            actor: StreamId([actor; 16]),
            command: None,
            request: None,
            group: Group { id: GroupId::default(), index: 0, count: 1 },
            causation: Position::ZERO,
            claims: Vec::new(),
            facts_key: KeyId::from_bytes([0; 16]),
            secrets: Vec::new(),
            shredded: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_opened_only_where_its_header_leaves_the_answer_open() {
        let all = Filter { to: Position(9), ..Filter::default() };
        let judge = |filter: &Filter, kind: &str, event_type: &str, actor| filter.judge(&Views::default(), &header(kind, event_type, actor));
        assert_eq!(judge(&all, "connection", "imported", 2), Verdict::Yes);
        let by = Filter { actors: vec![StreamId([2; 16])], ..all.clone() };
        assert_eq!(judge(&by, "connection", "imported", 2), Verdict::Yes);
        assert_eq!(judge(&by, "connection", "imported", 3), Verdict::No, "another's is not opened");
        assert_eq!(judge(&by, "attempts", "denied", 0), Verdict::Open, "whom it refused stands in the facts");
        let ruled = Filter { rules: vec!["role:owner".into()], ..by.clone() };
        assert_eq!((judge(&ruled, "connection", "imported", 2), judge(&ruled, "connection", "imported", 3)), (Verdict::Open, Verdict::No));
        let kinds = Filter { kinds: vec!["user".into(), "role".into()], ips: vec!["::1".into()], ..all.clone() };
        assert_eq!((judge(&kinds, "role", "created", 2), judge(&kinds, "connection", "created", 2)), (Verdict::Open, Verdict::No));
        let denied = Filter { decision: Some(Decision::Denied), ..all.clone() };
        assert_eq!((judge(&denied, "attempts", "failed", 0), judge(&denied, "attempts", "cleared", 0)), (Verdict::Yes, Verdict::No));
        assert_eq!(judge(&Filter { to: Position(6), ..all }, "connection", "imported", 2), Verdict::No);
    }
}
