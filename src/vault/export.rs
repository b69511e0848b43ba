//! An exported event: a line of JSON that anybody can tie to the log, without any key and without trusting whoever exported it.
//!
//! ```text
//! event  = { leaf, position, recorded_at, epoch, kind, type, class, tenant, stream, version, content_version, actor, group {id, index, count},
//!            causation, facts?, opening? {facts, salt | signature}, withheld?, hash, record }
//! passed = { leaf, count, hash }                                 leaves whose records are not shown: a full subtree that begins at `leaf`
//! end    = { end {events, through, checkpoint} }                 the last line: a file without it was cut off
//! ```
//! How a line is checked: `hash` is SHA-256(0x00 ‖ record), `record` being base64 of the stored bytes (their layout stands in `seal/record.rs`);
//! every readable member but the facts is one of the record's clear header; the text in `opening.facts` is the JSON in `facts`, and
//! SHA-256("keyledger/v1/facts-commitment" ‖ salt ‖ that text) is the header's facts commitment. Where `withheld` is `verifiers`, part of the
//! facts is what presented secrets are compared with: it reads "hidden", and in place of a salt there is an Ed25519 signature by the log's key
//! over "keyledger/v1/shown" ‖ hash [32] ‖ that text. Where it is `unreadable`, the key is gone, and there are no facts.
//! The hashes of all lines, from leaf 0 on, give the root of a checkpoint.

use std::io::{BufRead, ErrorKind};

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::credentials::FactsError;
use crate::kernel::{Class, Header, Position};
use crate::log::{Audit, Bad, Told, Whole};
use crate::seal::checkpoint::{Checkpoint, attest, is_attested};
use crate::seal::record::MAX_RECORD;
use crate::seal::{Key, Record, derive};
use crate::views::Opened;

/// The longest line, in bytes: a record in base64, and its facts twice.
pub const MAX_LINE: usize = 8 * MAX_RECORD;

/// A line of an exported file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// An event.
    Event(Box<EventLine>),
    /// Leaves whose records are not shown.
    Passed(PassedLine),
    /// Nothing follows.
    End(EndLine),
}

/// The last line of a whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    /// What the file holds.
    pub end: End,
}

/// What a whole file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many events are shown.
    pub events: u64,
    /// Through which position the log was looked at.
    pub through: u64,
    /// The signed checkpoint that all lines lead to.
    pub checkpoint: String,
}

/// An event with all that ties it to the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    /// The number of its leaf, from 0.
    pub leaf: u64,
    /// Place in the log.
    pub position: u64,
    /// When the log took it.
    #[schema(format = DateTime)]
    pub recorded_at: String,
    /// Number of the history that it belongs to.
    pub epoch: u32,
    /// Sort of thing.
    pub kind: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `change` or `observation`.
    pub class: String,
    /// Owner of the thing.
    pub tenant: String,
    /// The thing.
    pub stream: String,
    /// Place among the thing's events.
    pub version: u64,
    /// Of the thing's latest change.
    pub content_version: u64,
    /// The principal that did it.
    pub actor: String,
    /// The append it came with.
    pub group: GroupLine,
    /// Position of what caused it; 0 for nothing.
    pub causation: u64,
    /// How it came about and what it says; absent when it cannot be read any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Value>,
    /// What shows that the facts are those that were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// What is not shown: `verifiers`, or all of it as it is `unreadable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// RFC 6962 leaf hash of the stored record, in hex.
    pub hash: String,
    /// The stored record, sealed, in base64.
    pub record: String,
}

/// Events appended as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupLine {
    /// Shared by all of them.
    pub id: String,
    /// The event's place, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

/// What ties facts to their record: what the commitment in its header was made of, or a signature of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The facts as they were stored, to the byte; with a signature, as they are shown.
    pub facts: String,
    /// 32 random bytes, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// An Ed25519 signature, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// How an event's facts are tied to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// By the commitment that was recorded with it.
    Committed,
    /// By the log's signature: part of them is hidden.
    Signed,
    /// There are none: its key is gone, or the record is not shown.
    Untold,
}

/// Leaves whose records are not shown to this reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PassedLine {
    /// The number of the first one, from 0.
    pub leaf: u64,
    /// How many: a power of two, and `leaf` is a multiple of it.
    pub count: u64,
    /// The root over them, in hex; of one, its leaf hash.
    pub hash: String,
}

/// How many events' facts were tied to their records, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// By the commitment.
    pub committed: u64,
    /// By the log's signature.
    pub signed: u64,
    /// Not shown.
    pub untold: u64,
}

/// The first thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{bad}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct Misread {
    /// In which line, from 1; `None` at its end.
    pub line: Option<u64>,
    /// What is wrong.
    pub bad: Bad,
}

/// Checks an exported file against the checkpoint that it leads to. The inner error says what is wrong with it, the outer one that it cannot be read.
pub fn check(file: impl BufRead, checkpoint: &Checkpoint, public: &[u8; 32], progress: &dyn Fn(u64)) -> std::io::Result<Result<(Whole, Ties), Misread>> {
    let told = Told { size: checkpoint.size, root: checkpoint.root, epoch: None, by: "the checkpoint".into() };
    let (mut audit, mut ties, mut text) = (Audit::against(vec![told]), Ties::default(), String::new());
    let (mut events, mut ended) = (0, false);
    // The limit is set anew for each line.
    let mut file = file.take(0);
    for line in 1.. {
        text.clear();
        file.set_limit(MAX_LINE as u64 + 1);
        let read = match file.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => text.strip_suffix('\n').ok_or("the line is cut short, or too long"),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err("the line is not UTF-8"),
            Err(error) => return Err(error),
        };
        let checked = match read {
            Ok(_) if ended => Err(audit.here("the file goes on after its last line")),
            Ok(text) => match take_line(text, &mut audit, checkpoint, public) {
                Ok((Line::End(EndLine { end }), _)) if end.events != events => {
                    Err(audit.here(format!("the file shows {events} events, and says {}", end.events)))
                }
                Ok((line, tie)) => {
                    events += u64::from(matches!(line, Line::Event(_)));
                    ended = matches!(line, Line::End(_));
                    if ended {
                        continue;
                    }
                    Ok(tie)
                }
                Err(bad) => Err(bad),
            },
            Err(cause) => Err(audit.here(cause)),
        };
        match checked {
            Ok(Tie::Committed) => ties.committed += 1,
            Ok(Tie::Signed) => ties.signed += 1,
            Ok(Tie::Untold) => ties.untold += 1,
            Err(bad) => return Ok(Err(Misread { line: Some(line), bad })),
        }
        progress(audit.chain().tree().size());
    }
    Ok(audit.end().map(|whole| (whole, ties)).map_err(|bad| Misread { line: None, bad }))
}

fn take_line(text: &str, audit: &mut Audit, checkpoint: &Checkpoint, public: &[u8; 32]) -> Result<(Line, Tie), Bad> {
    let line = Line::read(text).map_err(|cause| audit.here(cause))?;
    if audit.chain().tree().size() >= checkpoint.size && !matches!(line, Line::End(_)) {
        return Err(audit.here(format!("the file goes on after {} leaves, where the checkpoint ends", checkpoint.size)));
    }
    let tie = line.check(audit, public)?;
    Ok((line, tie))
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let read = base16ct::lower::decode(text, &mut bytes).ok()?.len();
    (read == 32).then_some(bytes)
}

impl Line {
    /// An event, with its facts where they can be read. Verifiers are hidden; then the log's key signs what is shown.
    pub fn event(leaf: u64, record: &Record, opened: Option<&Opened>, seed: &Key) -> Result<Self, FactsError> {
        let mut line = Box::new(EventLine::of(leaf, record));
        let Some(opened) = opened else {
            line.withheld = Some("unreadable".into());
            return Ok(Self::Event(line));
        };
        let event = &opened.stored.event;
        let opening = if event.hides()? {
            let shown = serde_json::json!({ "meta": opened.stored.meta, "event": event.shown()? });
            let facts = shown.to_string();
            line.withheld = Some("verifiers".into());
            Opening { signature: Some(Base64::encode_string(&attest(seed, &record.leaf(), facts.as_bytes()))), salt: None, facts }
        } else {
            let facts = String::from_utf8(opened.json.clone()).map_err(|_| FactsError::Shape)?;
            Opening { salt: Some(hex(&opened.salt)), signature: None, facts }
        };
        line.facts = Some(serde_json::from_str(&opening.facts).map_err(|_| FactsError::Shape)?);
        line.opening = Some(opening);
        Ok(Self::Event(line))
    }

    /// Leaves that are not shown, by the root over them: a full subtree.
    #[must_use]
    pub fn passed(leaf: u64, count: u64, root: [u8; 32]) -> Self {
        Self::Passed(PassedLine { leaf, count, hash: hex(&root) })
    }

    /// The last line.
    #[must_use]
    pub fn end(events: u64, through: Position, checkpoint: &str) -> Self {
        Self::End(EndLine { end: End { events, through: through.0, checkpoint: checkpoint.to_owned() } })
    }

    /// The line, without its end.
    pub fn text(&self) -> Result<String, FactsError> {
        serde_json::to_string(self).map_err(|_| FactsError::Shape)
    }

    /// Reads a line; the cause when it is none.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LINE {
            return Err(format!("the line is longer than {MAX_LINE} bytes"));
        }
        // An event is told by its record: serde's own choice between the two would say nothing of what is wrong.
        let passed = serde_json::from_str::<PassedLine>(text);
        if let Ok(passed) = passed {
            return Ok(Self::Passed(passed));
        }
        if let Ok(end) = serde_json::from_str::<EndLine>(text) {
            return Ok(Self::End(end));
        }
        serde_json::from_str(text).map(|line| Self::Event(Box::new(line))).map_err(|error| format!("it is no line of an export: {error}"))
    }

    /// Checks the line by itself, and takes it as what follows.
    pub fn check(&self, audit: &mut Audit, public: &[u8; 32]) -> Result<Tie, Bad> {
        let wrong = |audit: &Audit, cause: String| Err(audit.here(cause));
        let (leaf, hash) = match self {
            Self::Event(line) => (line.leaf, &line.hash),
            Self::Passed(line) => (line.leaf, &line.hash),
            Self::End(_) => return Ok(Tie::Untold),
        };
        let size = audit.chain().tree().size();
        if leaf != size {
            return wrong(audit, format!("the line is of leaf {leaf}, not {size}"));
        }
        let Some(hash) = unhex(hash) else { return wrong(audit, "its hash is no hash".into()) };
        match self {
            Self::Passed(line) => audit.pass(hash, line.count).map(|()| Tie::Untold),
            Self::Event(line) => match line.record(hash, public) {
                Ok((record, tie)) => audit.take(&record).map(|()| tie),
                Err(cause) => wrong(audit, cause),
            },
            Self::End(_) => Ok(Tie::Untold),
        }
    }
}

impl EventLine {
    fn of(leaf: u64, record: &Record) -> Self {
        let header: &Header = record.header();
        Self {
            leaf,
            position: header.position.0,
            recorded_at: header.recorded_at.to_string(),
            epoch: header.epoch.number,
            kind: header.kind.clone(),
            event_type: header.event_type.clone(),
            class: match header.class {
                Class::Change => "change".into(),
                Class::Observation => "observation".into(),
            },
            tenant: header.tenant.to_string(),
            stream: header.stream.to_string(),
            version: header.version.0,
            content_version: header.content_version.0,
            actor: header.actor.to_string(),
            group: GroupLine { id: header.group.id.to_string(), index: header.group.index, count: header.group.count },
            causation: header.causation.0,
            facts: None,
            opening: None,
            withheld: None,
            hash: hex(&record.leaf()),
            record: Base64::encode_string(record.bytes()),
        }
    }

    /// The record, and how the facts are tied to it; the cause when the line does not fit its record.
    fn record(&self, hash: [u8; 32], public: &[u8; 32]) -> Result<(Record, Tie), String> {
        let bytes = Base64::decode_vec(&self.record).map_err(|_| "its record is not base64")?;
        let record = Record::decode(&bytes).map_err(|error| error.to_string())?;
        if record.leaf() != hash {
            return Err("its record does not have its hash".into());
        }
        let stated = Self { facts: None, opening: None, withheld: None, ..self.clone() };
        if stated != Self::of(self.leaf, &record) {
            return Err("what it shows is not what its record says".into());
        }
        let tie = self.check_facts(&record, public)?;
        Ok((record, tie))
    }

    fn check_facts(&self, record: &Record, public: &[u8; 32]) -> Result<Tie, String> {
        let (facts, opening) = match (&self.facts, &self.opening, self.withheld.as_deref()) {
            (None, None, Some("unreadable")) => return Ok(Tie::Untold),
            (Some(facts), Some(opening), None | Some("verifiers")) => (facts, opening),
            _ => return Err("its facts are neither opened nor withheld".into()),
        };
        if serde_json::from_str::<Value>(&opening.facts).ok().as_ref() != Some(facts) {
            return Err("the facts that it shows are not those that it opens".into());
        }
        let text = opening.facts.as_bytes();
        match (&opening.salt, &opening.signature, &self.withheld) {
            (Some(salt), None, None) => {
                let salt = unhex(salt).ok_or("its salt is no salt")?;
                let same = derive::facts_commitment(&salt, text) == record.header().facts_commitment;
                if same { Ok(Tie::Committed) } else { Err("its facts are not those that were recorded".into()) }
            }
            (None, Some(signature), Some(_)) => {
                let signature = Base64::decode_vec(signature).map_err(|_| "its signature is not base64")?;
                let signed = is_attested(public, &record.leaf(), text, &signature);
                if signed { Ok(Tie::Signed) } else { Err("its facts are not what the log signed".into()) }
            }
            _ => Err("its facts are neither opened nor signed".into()),
        }
    }
}
