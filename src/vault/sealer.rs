//! Turns a plan into sealed events: takes keys, hashes claims, seals facts and secrets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::credentials::{AnyEvent, FactsError, Meta};
use crate::kernel::{
    Claim, ClaimOp, Epoch, EventId, Group, GroupId, Header, KeyId, Moment, Plan, Position, Random, SealedSecret, StreamId, TenantId, Version, Write,
};
use crate::keyring::{Keyring, KeyringError, Purpose, PurposeKey};
use crate::log::Submission;
use crate::seal::{Draft, Key, SealError, derive, envelope};

/// What could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealFailure {
    /// A key is not to be had.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// A box could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Facts could not be written.
    #[error(transparent)]
    Facts(#[from] FactsError),
}

/// Who writes, and under which command id.
pub struct Author<'a> {
    /// Owner of the streams.
    pub tenant: TenantId,
    /// The principal's stream.
    pub actor: StreamId,
    /// How it came about.
    pub meta: &'a Meta,
    /// The command id and its request, hashed.
    pub command: Option<([u8; 32], [u8; 32])>,
}

/// Seals, for one vault and epoch.
pub struct Sealer {
    keyring: Arc<dyn Keyring>,
    random: Arc<dyn Random>,
    epoch: Epoch,
    fingerprint: PurposeKey,
    command: PurposeKey,
}

impl Sealer {
    /// Over a keyring.
    pub fn new(keyring: Arc<dyn Keyring>, random: Arc<dyn Random>, epoch: Epoch) -> Result<Self, KeyringError> {
        let fingerprint = keyring.purpose(TenantId::SYSTEM, Purpose::Fingerprint)?;
        let command = keyring.purpose(TenantId::SYSTEM, Purpose::Command)?;
        Ok(Self { keyring, random, epoch, fingerprint, command })
    }

    /// A caller's idempotency key and its request, as the clear header shows them.
    #[must_use]
    pub fn command(&self, tenant: TenantId, principal: StreamId, route: &str, given: &str, request: &[&[u8]]) -> ([u8; 32], [u8; 32]) {
        (derive::command(&self.command.key, tenant, principal, route, given), derive::request(&self.command.key, request))
    }

    /// Seals a plan. `facts_key` tells the key of a stream that exists; secrets take the kept `keys` first.
    pub fn seal(
        &self,
        plan: Plan<AnyEvent>,
        author: &Author<'_>,
        facts_key: impl Fn(StreamId) -> Option<KeyId>,
        keys: &mut Vec<(KeyId, Key)>,
    ) -> Result<Submission, SealFailure> {
        let mut submission = Submission { drafts: Vec::new(), expected: Vec::new(), opened: Vec::new(), guards: plan.guards };
        let group = GroupId::random(&*self.random);
        let count = u32::try_from(plan.writes.len()).unwrap_or(u32::MAX);
        let claims_key = self.keyring.purpose(author.tenant, Purpose::Claims)?.key;
        let mut facts_keys: HashMap<StreamId, (KeyId, Key)> = HashMap::new();
        for (write, index) in plan.writes.into_iter().zip(0..) {
            let (facts_id, facts) = match facts_keys.entry(write.stream) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(match facts_key(write.stream) {
                    Some(id) => (id, self.keyring.key(author.tenant, id)?),
                    None => self.keyring.take(author.tenant)?,
                }),
            };
            let mut header = self.header(&write, author, Group { id: group, index, count }, *facts_id);
            header.causation = plan.causation;
            header.claims = claim_ops(&claims_key, &write.takes, &write.frees);
            let opened = write.event.to_facts(author.meta)?;
            let (sealed_facts, secrets) = self.boxes(&mut header, &write, (facts, &opened), keys)?;
            submission.drafts.push(Draft { header, facts: sealed_facts, secrets });
            submission.expected.push(write.expected);
            submission.opened.push(opened.into());
        }
        Ok(submission)
    }

    fn header(&self, write: &Write<AnyEvent>, author: &Author<'_>, group: Group, facts_key: KeyId) -> Header {
        let command = author.command.filter(|_| group.index == 0);
        Header {
            position: Position::ZERO,
            previous: Position::ZERO,
            recorded_at: Moment::default(),
            version: Version::ZERO,
            content_version: Version::ZERO,
            facts_commitment: [0; 32],
            epoch: self.epoch,
            event: EventId::random(&*self.random),
            tenant: author.tenant,
            stream: write.stream,
            class: write.class,
            kind: write.event.kind().to_owned(),
            event_type: write.event.event_type().to_owned(),
            actor: author.actor,
            command: command.map(|(command, _)| command),
            request: command.map(|(_, request)| request),
            group,
            causation: Position::ZERO,
            claims: Vec::new(),
            facts_key,
            secrets: Vec::new(),
            shredded: write.shreds.clone(),
        }
    }

    /// All boxes are bound to the whole header, so that is finished first.
    fn boxes(
        &self,
        header: &mut Header,
        write: &Write<AnyEvent>,
        (facts_key, facts): (&Key, &[u8]),
        kept: &mut Vec<(KeyId, Key)>,
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), SealFailure> {
        let mut keys = Vec::with_capacity(write.secrets.len());
        for (name, secret) in &write.secrets {
            let (id, key) = kept.pop().map_or_else(|| self.keyring.take(header.tenant), Ok)?;
            let fingerprint = derive::fingerprint(&self.fingerprint.key, header.tenant, secret.expose());
            header.secrets.push(SealedSecret { name: name.clone(), key: id, fingerprint });
            keys.push((id, key));
        }
        let vault = self.keyring.vault();
        let sealed_facts = envelope::seal_facts(vault, header, facts_key, facts, &*self.random)?;
        let secrets: Result<Vec<Vec<u8>>, SealError> = write
            .secrets
            .iter()
            .zip(&keys)
            .map(|((name, secret), (id, key))| envelope::seal_secret(vault, header, name, *id, key, secret, &*self.random))
            .collect();
        Ok((sealed_facts, secrets?))
    }
}

fn claim_ops(key: &Key, takes: &[Claim], frees: &[Claim]) -> Vec<ClaimOp> {
    let frees = frees.iter().map(|claim| ClaimOp::Free(derive::claim(key, claim)));
    let takes = takes.iter().map(|claim| ClaimOp::Take(derive::claim(key, claim)));
    frees.chain(takes).collect()
}
