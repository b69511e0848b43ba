//! Shredding a secret, a thing or a consumer: first what would die is shown, and then it dies. What is still in use is deleted before.

use sha2::{Digest, Sha256};

use super::access::{Principal, Resource};
use super::execute::{Command, Given};
use super::shred::stated;
use super::{Vault, VaultError, plans};
use crate::credentials::vault::{Event, SecretAt};
use crate::credentials::{AnyState, Kind, Meta, connection, consumer};
use crate::kernel::{KeyId, Permission, Position, Refusal, StreamId, Version};
use crate::views::{Entry, Views};

/// The most keys of one event: its header holds them all.
const KEYS_AT_ONCE: usize = 2048;
/// The most things of one event.
const AT_ONCE: usize = 256;
/// How often it is looked whether something came while keys were gathered.
const ROUNDS: usize = 8;

/// What is to be shredded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One version of a secret of a credential; without one, the version in use.
    Secret {
        /// The credential.
        credential: StreamId,
        /// The name of the secret.
        name: String,
        /// Which version.
        version: Option<Version>,
    },
    /// A thing, all of it.
    Thing(StreamId),
    /// A consumer and all of its connections, deleted ones too.
    Consumer {
        /// The application.
        app: String,
        /// Its id there.
        consumer: String,
    },
}

/// A thing that would die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// The thing.
    pub id: StreamId,
    /// Its kind.
    pub kind: &'static str,
    /// Whether it is in use: it is deleted first.
    pub live: bool,
    /// How many events say something of it.
    pub events: u64,
    /// How many secrets it has and had, without those that were shredded.
    pub secrets: u64,
}

/// What would die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Names this preview: it changes when the things do.
    pub id: String,
    /// The word that confirms it as well.
    pub confirm: String,
    /// The things, whole; none when only a secret dies.
    pub things: Vec<Doomed>,
    /// The secret, when only that dies.
    pub secret: Option<SecretAt>,
}

/// How a caller says that it knows what dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// By the id of a preview.
    Preview(String),
    /// By a word.
    Word(String),
}

/// What was gathered of a thing.
struct Gathered {
    keys: Vec<KeyId>,
    events: u64,
    secrets: u64,
}

impl Vault {
    /// What would die, for whom may shred it.
    pub async fn preview_shred(&self, by: &Principal, target: &Target) -> Result<Preview, VaultError> {
        let views = self.views();
        let mut hash = Sha256::new().chain_update("keyledger/v1/shred");
        if let Target::Secret { credential, name, version } = target {
            let entry = self.mine(&views, by, *credential)?;
            let secret = self.secret_at(entry, name, *version).await?;
            let (owner, keys) = (entry.tenant, self.keys_of(std::slice::from_ref(&secret)).await?);
            if self.sequencer.look(move |index| keys.iter().all(|key| index.is_shredded(owner, *key))).await.unwrap_or(false) {
                return Err(Refusal::Shredded.into());
            }
            hash.update([&credential.0[..], &secret.position.0.to_be_bytes(), name.as_bytes()].concat());
            return Ok(Preview { id: named(hash), confirm: name.clone(), things: Vec::new(), secret: Some(secret) });
        }
        let mut things = Vec::new();
        for id in self.targeted(&views, by, target)? {
            let Some(entry) = views.thing(id) else { continue };
            let gathered = self.gather(entry).await?;
            hash.update([&id.0[..], &entry.content_version.0.to_be_bytes()].concat());
            things.push(Doomed { id, kind: entry.state.kind(), live: entry.state.is_live(), events: gathered.events, secrets: gathered.secrets });
        }
        let confirm = match target {
            Target::Thing(id) => id.to_string(),
            Target::Secret { name: word, .. } | Target::Consumer { consumer: word, .. } => word.clone(),
        };
        Ok(Preview { id: named(hash), confirm, things, secret: None })
    }

    /// Shreds it. When it returns, no copy of the keys is left here; when it is cut short, the same command goes on, and so does the next start
    /// with what was written.
    pub async fn apply_shred(&self, by: &Principal, meta: Meta, target: &Target, reason: &str, confirmed: &Confirmed) -> Result<Preview, VaultError> {
        stated(reason)?;
        let preview = self.preview_shred(by, target).await?;
        match confirmed {
            Confirmed::Word(word) if *word != preview.confirm => {
                return Err(Refusal::invalid("confirm", format!("is not {}: look at the preview again", preview.confirm)).into());
            }
            Confirmed::Preview(id) if *id != preview.id => {
                return Err(Refusal::InvalidState("the preview is of another state: look at it again".into()).into());
            }
            _ => {}
        }
        let meta = Meta { reason: Some(reason.to_owned()), ..meta };
        if let Some(secret) = &preview.secret {
            self.shred_secrets(by, meta, std::slice::from_ref(secret), reason).await?;
            return Ok(preview);
        }
        self.delete_first(by, &meta, target, &preview).await?;
        let things: Vec<StreamId> = preview.things.iter().map(|thing| thing.id).collect();
        for some in things.chunks(AT_ONCE) {
            self.shred_things(by, &meta, some, reason).await?;
        }
        Ok(preview)
    }

    /// A thing of the caller's, which it may shred.
    fn mine<'a>(&self, views: &'a Views, by: &Principal, id: StreamId) -> Result<&'a Entry, VaultError> {
        let entry = views.thing(id).filter(|entry| entry.tenant == by.tenant).ok_or(Refusal::NotFound)?;
        let app = match &entry.state {
            AnyState::Shredded(_) => return Err(Refusal::Shredded.into()),
            AnyState::Connection(connection::State::Live(live)) => Some(live.key.app.as_str()),
            AnyState::Connection(connection::State::Deleted { key, .. }) => Some(key.app.as_str()),
            AnyState::Consumer(consumer::State::Live(live)) => Some(&*live.app),
            AnyState::Consumer(consumer::State::Deleted { app, .. }) => Some(&**app),
            _ => None,
        };
        self.may(by, Permission::ShredApply, Resource { tenant: entry.tenant, app })?;
        Ok(entry)
    }

    /// The things that a target means.
    fn targeted(&self, views: &Views, by: &Principal, target: &Target) -> Result<Vec<StreamId>, VaultError> {
        match target {
            Target::Thing(id) | Target::Secret { credential: id, .. } => {
                let entry = self.mine(views, by, *id)?;
                may_die(entry)?;
                Ok(vec![*id])
            }
            Target::Consumer { app, consumer: wanted } => {
                let is_of = |entry: &Entry| match &entry.state {
                    AnyState::Consumer(consumer::State::Live(live)) => *live.app == **app && *live.consumer == **wanted,
                    AnyState::Consumer(consumer::State::Deleted { app: of, consumer, .. }) => **of == **app && **consumer == **wanted,
                    AnyState::Connection(connection::State::Live(live)) => live.key.app == *app && live.key.consumer == *wanted,
                    AnyState::Connection(connection::State::Deleted { key, .. }) => key.app == *app && key.consumer == *wanted,
                    _ => false,
                };
                let mut found: Vec<(Position, StreamId)> =
                    views.things().filter(|(_, entry)| entry.tenant == by.tenant && is_of(entry)).map(|(id, entry)| (entry.first, *id)).collect();
                found.sort_unstable();
                let ids: Vec<StreamId> = found.into_iter().map(|(_, id)| id).collect();
                let first = ids.first().ok_or(Refusal::NotFound)?;
                self.mine(views, by, *first)?;
                for id in &ids {
                    views.thing(*id).map_or(Ok(()), |entry| may_die(entry))?;
                }
                Ok(ids)
            }
        }
    }

    /// Where a version of a secret lies.
    async fn secret_at(&self, entry: &Entry, name: &str, version: Option<Version>) -> Result<SecretAt, VaultError> {
        let of = |position| SecretAt { position, name: name.to_owned() };
        let Some(version) = version else {
            let secret = entry.state.secrets().into_iter().find(|secret| secret.name == name).ok_or(Refusal::NotFound)?;
            return Ok(of(secret.position));
        };
        let mut at = entry.last;
        while at > Position::ZERO {
            let records = self.log.fetch(&[at]).await?;
            let Some(header) = records.first().map(crate::seal::Record::header) else { break };
            if header.version == version && header.secrets.iter().any(|secret| secret.name == name) {
                return Ok(of(at));
            }
            at = header.previous;
        }
        Err(Refusal::NotFound.into())
    }

    /// The keys of a thing that live: that of its facts, and those of all secrets that it ever had.
    async fn gather(&self, entry: &Entry) -> Result<Gathered, VaultError> {
        let (mut keys, mut at, mut events) = (vec![entry.facts_key], entry.last, 0);
        while at > Position::ZERO {
            let records = self.log.fetch(&[at]).await?;
            let Some(header) = records.first().map(crate::seal::Record::header) else { break };
            keys.extend(header.secrets.iter().map(|secret| secret.key));
            (at, events) = (header.previous, events + 1);
        }
        let (tenant, facts) = (entry.tenant, entry.facts_key);
        let live = self.sequencer.look(move |index| keys.into_iter().filter(|key| !index.is_shredded(tenant, *key)).collect::<Vec<_>>()).await;
        let keys = live.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))?;
        let secrets = keys.iter().filter(|key| **key != facts).count() as u64;
        Ok(Gathered { keys, events, secrets })
    }

    /// What is in use is deleted by the rules of its kind.
    async fn delete_first(&self, by: &Principal, meta: &Meta, target: &Target, preview: &Preview) -> Result<(), VaultError> {
        if !preview.things.iter().any(|thing| thing.live) {
            return Ok(());
        }
        let command = Command { principal: by, meta: meta.clone(), idempotency: None };
        let done = self.execute(&command, |given| match target {
            Target::Consumer { app, consumer } => plans::delete_consumer(given, by.tenant, app, consumer),
            Target::Thing(id) | Target::Secret { credential: id, .. } => plans::delete_thing(given, by, *id),
        });
        done.await.map(drop)
    }

    async fn shred_things(&self, by: &Principal, meta: &Meta, things: &[StreamId], reason: &str) -> Result<(), VaultError> {
        // Once more, until nothing came while keys were gathered: a late result of an exchange may bring a secret.
        for _ in 0..ROUNDS {
            let (views, mut keys) = (self.views(), Vec::new());
            for id in things {
                if let Some(entry) = views.thing(*id) {
                    keys.extend(self.gather(entry).await?.keys);
                }
            }
            if keys.is_empty() {
                return Ok(());
            }
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let event = || Event::Shredded { secrets: Vec::new(), reason: reason.to_owned(), things: things.to_vec(), tenants: Vec::new() };
                self.note_shred(by, meta.clone(), keys, event, |given| is_out_of_use(given, things)).await?;
                self.carry_out_shred(keys).await?;
            }
        }
        Err(VaultError::Submit(crate::log::SubmitError::Busy))
    }
}

fn named(hash: Sha256) -> String {
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk::<16>().map_or_else(String::new, |half| base16ct::lower::encode_string(half))
}

/// Things of these kinds die alone; what the vault itself keeps dies with its tenant only.
fn may_die(entry: &Entry) -> Result<(), Refusal> {
    match &entry.state {
        AnyState::Connection(connection::State::Live(live)) if live.flight.is_some() => {
            Err(Refusal::InvalidState("an exchange of the connection is under way: try again when it has ended".into()))
        }
        state => match state.sort() {
            Some(Kind::Tenant | Kind::Vault | Kind::Usage | Kind::Attempts | Kind::Recovery) => {
                Err(Refusal::InvalidState(format!("a thing of kind {} is not shredded alone", state.kind())))
            }
            Some(Kind::Connector) => Err(Refusal::InvalidState("a connector is not deleted, and so not shredded".into())),
            _ => Ok(()),
        },
    }
}

/// None of these things is in use any more.
fn is_out_of_use(given: &Given<'_>, things: &[StreamId]) -> Result<bool, Refusal> {
    let live = things.iter().filter_map(|id| given.views.thing(*id)).any(|entry| entry.state.is_live());
    if live { Err(Refusal::InvalidState("it is in use again: look at the preview again".into())) } else { Ok(true) }
}
