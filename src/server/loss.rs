//! An operator accepts that the end of the log is lost: an epoch begins past it, whose first event says so.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::copies::{CHECKPOINT, signer};
use super::home::{Home, HomeError, io};
use super::restore::{append, fold};
use super::unexplained::Unexplained;
use crate::credentials::vault::Event;
use crate::kernel::{Epoch, Position};
use crate::keyring::Keyring;
use crate::log::copies::{self, Depth, Refusal};
use crate::log::{DoubledLog, EventLog};
use crate::views::Opener;

/// Says what is being accepted, until it is an event: what proves the loss may be gone before that.
const PENDING: &str = "loss.pending";

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The first position that is lost.
    pub from: Position,
    /// The last one that is known of.
    pub through: Position,
    /// How it is known.
    pub cause: String,
}

impl Home {
    pub(super) fn pending(&self) -> PathBuf {
        self.folder.join(PENDING)
    }

    /// Keeps what is left of the log, and begins an epoch whose first event says what is lost. Only for a lost end: what is lost in the middle can
    /// be left behind by a restore. Keys whose shred is lost with it are named as destroyed. Nothing is changed before it is known that what is left
    /// can be folded.
    pub async fn accept_loss(&self) -> Result<Accepted, HomeError> {
        let _lock = self.lock()?;
        let keyring = Arc::new(self.keyring()?);
        let (vault, signer) = (keyring.vault(), signer(&keyring)?);
        let survey = copies::survey(&self.folder, vault, Depth::Whole, &self.told(&keyring)?);
        if survey.refusal.is_some() {
            // What the copies say of themselves comes first.
            let alone = copies::survey(&self.folder, vault, Depth::Whole, &[]).refusal;
            if let Some(other) = alone.filter(|refusal| !matches!(refusal, Refusal::Shortened(_))) {
                return Err(HomeError::NoLoss(other.to_string()));
            }
        }
        let reading = self.reading(vault)?;
        let opener = Opener::new(keyring.clone());
        let gone = Unexplained::find(&*reading, &*keyring, &opener).await?;
        let begun = self.begun()?;
        if let Some(begun) = &begun
            && survey.head >= begun.from
        {
            return self.ended_before(&*reading, begun).await;
        }
        let lost = match (begun, &survey.refusal) {
            (Some(begun), Some(Refusal::Shortened(_)) | None) => begun,
            (None, Some(Refusal::Shortened(span))) => Accepted { from: span.from, through: span.through, cause: span.cause.clone() },
            (None, None) if gone.is_empty() => return Err(HomeError::NoLoss("the log is whole, or can be repaired".into())),
            // How much is lost nobody tells: at least the event that took the keys.
            (None, None) => Accepted { from: survey.head.next(), through: survey.head.next(), cause: gone.to_string() },
            (_, Some(other)) => return Err(HomeError::NoLoss(other.to_string())),
        };
        opener.learn(&*reading, Position::ZERO).await?;
        opener.forget(gone.dead());
        let (views, tree) = fold(&*reading, &opener, survey.head, &|_| ()).await?;
        if views.position() != survey.head || tree != survey.tree {
            return Err(HomeError::NotTheSame("it cannot be read as a whole, or ends inside a group"));
        }
        drop(reading);
        self.begin(&lost)?;
        copies::mend_what_is_left(&self.folder, vault, &survey, &signer)?;
        let log = DoubledLog::open(&self.folder, vault, signer)?;
        let head = *log.head().borrow();
        let old = survey.epoch.filter(|_| head == survey.head).ok_or(HomeError::PastTheEnd(head))?;
        let epoch = Epoch { number: old.number + 1, id: self.random.array() };
        keyring.begin_epoch(epoch.number);
        let root = base16ct::lower::encode_string(&tree.root());
        let event = Event::LossAccepted { from: old, position: head, root, lost_to: lost.through, cause: lost.cause.clone() };
        let events = [(event, Vec::new())].into_iter().chain(gone.told()).collect();
        let block = self.first_group(&views, lost.through, "accept-loss", events, keyring, epoch)?;
        append(&log, head, block).await?;
        drop(log);
        self.end()?;
        Ok(lost)
    }

    /// An acceptance whose event stands in the log already, and whose end is missing; or whose lost positions came back before there was one.
    async fn ended_before(&self, log: &dyn EventLog, begun: &Accepted) -> Result<Accepted, HomeError> {
        let next = log.fetch(&[begun.through.next()]).await?;
        let stands = next.first().is_some_and(|record| record.header().group.index == 0 && &*record.header().event_type == "loss_accepted");
        if stands {
            self.end()?;
            return Ok(begun.clone());
        }
        let pending = self.pending();
        fs::remove_file(&pending).map_err(|error| io(&pending, error))?;
        Err(HomeError::NoLoss(format!("position {} is there again: what was begun is given up", begun.from)))
    }

    fn begun(&self) -> Result<Option<Accepted>, HomeError> {
        let path = self.pending();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(|error| io(&path, error))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| io(&path, error.into()))
    }

    fn begin(&self, lost: &Accepted) -> Result<(), HomeError> {
        let (path, partial) = (self.pending(), self.pending().with_extension("partial"));
        let write = || {
            let mut file = fs::File::create(&partial)?;
            file.write_all(&serde_json::to_vec(lost)?)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| io(&path, error))
    }

    /// The checkpoint that spoke of more is kept aside.
    fn end(&self) -> Result<(), HomeError> {
        let checkpoint = self.folder.join(CHECKPOINT);
        let end = || {
            if checkpoint.exists() {
                let named = |number: u32| self.folder.join(format!("{CHECKPOINT}.lost-{number}"));
                let aside = (1..u32::MAX).map(named).find(|aside| !aside.exists()).ok_or(std::io::ErrorKind::AlreadyExists)?;
                fs::rename(&checkpoint, aside)?;
            }
            fs::remove_file(self.pending())?;
            fs::File::open(&self.folder)?.sync_all()
        };
        end().map_err(|error: std::io::Error| io(&checkpoint, error))
    }
}
