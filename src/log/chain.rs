//! The rules by which one record follows another, checked from the clear headers alone: for whoever has no key and need not trust anybody.

use std::collections::HashMap;

use crate::kernel::{Class, Epoch, Group, Header, KeyId, Moment, Position, StreamId, TenantId, Version};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// The kind of the events that may begin an epoch after the first, and their types: a restore, and a lost end that was accepted.
const BEGINS: (&str, [&str; 2]) = ("vault", ["restored", "loss_accepted"]);

/// A record that does not follow what stands before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Broken {
    /// What is wrong.
    pub cause: String,
}

fn broken(cause: impl Into<String>) -> Broken {
    Broken { cause: cause.into() }
}

/// Where a stream stands.
struct At {
    tenant: TenantId,
    facts_key: KeyId,
    last: Position,
    version: Version,
    content_version: Version,
}

/// A log as far as it was checked. It begins at the first record; leaves whose records are not shown may be passed over by their hashes.
#[derive(Default)]
pub struct Chain {
    tree: Frontier,
    streams: HashMap<StreamId, At>,
    head: Position,
    recorded_at: Moment,
    epoch: Option<Epoch>,
    /// The latest record's group; `None` after leaves that were passed over.
    group: Option<Group>,
    /// The position of the latest record before the last leaves that were passed over.
    passed: Option<Position>,
    /// How many leaves were passed over since the latest record.
    gap: u64,
}

impl Chain {
    /// The hash tree over all that was taken.
    #[must_use]
    pub const fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// The position of the latest record.
    #[must_use]
    pub const fn head(&self) -> Position {
        self.head
    }

    /// Where the next record stands, unless a restore left a gap before it.
    #[must_use]
    pub const fn next(&self) -> Position {
        Position(self.head.0.saturating_add(self.gap).saturating_add(1))
    }

    /// The epoch of the latest record.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Takes the next record, if it follows.
    pub fn take(&mut self, record: &Record) -> Result<(), Broken> {
        let header = record.header();
        self.check_place(header)?;
        self.check_group(header)?;
        self.check_stream(header)?;
        if header.recorded_at < self.recorded_at {
            return Err(broken(format!("it was recorded at {}, before the one before it ({})", header.recorded_at, self.recorded_at)));
        }
        if self.gap > 0 {
            self.passed = Some(self.head);
        }
        self.streams.insert(
            header.stream,
            At { tenant: header.tenant, facts_key: header.facts_key, last: header.position, version: header.version, content_version: header.content_version },
        );
        (self.head, self.recorded_at, self.epoch, self.group, self.gap) = (header.position, header.recorded_at, Some(header.epoch), Some(header.group), 0);
        self.tree.push(record.leaf());
        Ok(())
    }

    /// Passes over so many leaves, by the root over them; they must be a full subtree that begins here.
    pub fn pass(&mut self, root: [u8; 32], count: u64) -> Result<(), Broken> {
        if !self.tree.push_subtree(root, count) {
            return Err(broken(format!("{count} leaves from leaf {} on are no full subtree", self.tree.size())));
        }
        self.gap += count;
        self.group = None;
        Ok(())
    }

    /// Whether the log may end here: not inside a group.
    pub fn end(&self) -> Result<(), Broken> {
        match self.group {
            Some(group) if !group.ends() => Err(broken(format!("it ends inside a group, after event {} of {}", group.index + 1, group.count))),
            _ => Ok(()),
        }
    }

    fn check_place(&self, header: &Header) -> Result<(), Broken> {
        let position = header.position.0;
        let least = self.next().0;
        match self.epoch {
            Some(epoch) if epoch == header.epoch => {
                if position == least {
                    Ok(())
                } else {
                    Err(broken(format!("its position is {position}, not {least}")))
                }
            }
            // What began the epoch is among the records that are not shown.
            _ if self.gap > 0 => {
                let older = self.epoch.is_some_and(|epoch| header.epoch.number <= epoch.number);
                if older {
                    return Err(broken("its epoch is not later than that of the one before it"));
                }
                if position >= least { Ok(()) } else { Err(broken(format!("its position is {position}, before {least}"))) }
            }
            None if position == 1 => Ok(()),
            None => Err(broken(format!("the first position is {position}, not 1"))),
            Some(epoch) => self.check_begun(epoch, header, least),
        }
    }

    /// A new epoch: the first event of a restored vault, or of one whose end was lost. It may leave a gap of positions, and names the one before it.
    fn check_begun(&self, before: Epoch, header: &Header, least: u64) -> Result<(), Broken> {
        if header.kind.as_str() != BEGINS.0 || !BEGINS.1.contains(&header.event_type.as_str()) || header.group.index != 0 {
            return Err(broken("its epoch is another, and it tells of no restore and of no loss"));
        }
        if header.epoch.number <= before.number {
            return Err(broken(format!("it begins epoch {}, after epoch {}", header.epoch.number, before.number)));
        }
        if header.causation != self.head {
            return Err(broken(format!("it goes on from position {}, and the one before it is {}", header.causation, self.head)));
        }
        if header.position.0 >= least { Ok(()) } else { Err(broken(format!("its position is {}, before {least}", header.position))) }
    }

    fn check_group(&self, header: &Header) -> Result<(), Broken> {
        let group = header.group;
        match self.group {
            Some(before) if !before.ends() => {
                if (group.id, group.index, group.count) != (before.id, before.index + 1, before.count) {
                    return Err(broken(format!("event {} of {} of a group is missing before it", before.index + 2, before.count)));
                }
                if header.recorded_at != self.recorded_at {
                    return Err(broken("it was recorded at another time than its group"));
                }
            }
            None if self.gap > 0 => {}
            _ if group.index != 0 => return Err(broken(format!("it is event {} of a group whose first is missing", group.index + 1))),
            _ => {}
        }
        if group.index > 0 && header.command.is_some() {
            return Err(broken("it bears a command and is not its group's first event"));
        }
        Ok(())
    }

    fn check_stream(&self, header: &Header) -> Result<(), Broken> {
        let hidden = self.gap > 0 || self.passed.is_some();
        let Some(at) = self.streams.get(&header.stream) else {
            if header.previous >= header.position {
                return Err(broken("its stream's previous event stands after it"));
            }
            let first = header.previous == Position::ZERO && header.version == Version(1);
            return if first || (hidden && header.version > Version(1)) {
                check_content(header, Version::ZERO, !first)
            } else {
                Err(broken("events of its stream are missing before it"))
            };
        };
        if (header.tenant, header.facts_key) != (at.tenant, at.facts_key) {
            return Err(broken("its stream changed its tenant or its facts key"));
        }
        // Only what was passed over since can have been of this stream.
        let since = if self.gap > 0 { Some(self.head) } else { self.passed };
        let may_hide = since.is_some_and(|since| since >= at.last);
        let next = header.previous == at.last && header.version == at.version.next();
        let later = header.previous > at.last && header.previous < header.position && header.version > at.version.next();
        if !(next || may_hide && later) {
            return Err(broken(format!(
                "it is version {} of its stream after position {}; the stream stands at version {} at position {}",
                header.version, header.previous, at.version, at.last
            )));
        }
        check_content(header, at.content_version, !next)
    }
}

fn check_content(header: &Header, before: Version, hidden: bool) -> Result<(), Broken> {
    let right = match header.class {
        Class::Change => header.content_version == header.version,
        Class::Observation if hidden => header.content_version >= before && header.content_version < header.version,
        Class::Observation => header.content_version == before,
    };
    if right { Ok(()) } else { Err(broken(format!("its content version {} does not follow {before}", header.content_version))) }
}
