//! Says each second, while the log grows, what it is: into a file of the data directory, and to anchors outside, where nobody who changes the log
//! can change what was said of it.

mod file;
mod post;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

pub use file::{Anchor, AnchorError, AnchorFile, BadAnchor, read_newest, write_newest};
pub use post::{ANCHOR_LIMITS, Post, PostError};

use super::told;
use crate::kernel::{Clock, Moment, Position};
use crate::vault::{Signed, Vault};

/// How often it is looked whether the log has grown.
const LOOK: Duration = Duration::from_secs(1);

/// What the vault warns of under these names.
const NEWEST: &str = "checkpoint";
const FILE: &str = "anchor-file";
const URL: &str = "anchor-url";

/// Where checkpoints go.
pub struct Checkpoints {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    /// In the data directory.
    newest: PathBuf,
    file: Option<AnchorFile>,
    url: watch::Sender<Option<Arc<str>>>,
    written: Option<Signed>,
    anchored: Option<Arc<str>>,
}

impl Checkpoints {
    /// Into this file, and to no anchor yet.
    #[must_use]
    pub fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>, newest: PathBuf) -> Self {
        Self { vault, clock, newest, file: None, url: watch::Sender::new(None), written: None, anchored: None }
    }

    /// To this file, too.
    #[must_use]
    pub fn anchored(self, file: Option<AnchorFile>) -> Self {
        Self { file, ..self }
    }

    /// The newest checkpoint that is to go to a URL; what waits there keeps nothing else waiting.
    #[must_use]
    pub fn outgoing(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.url.subscribe()
    }

    /// Runs until `stop` becomes true, and then says a last time what the log is.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => self.look().await,
                () = told(&mut stop) => break,
            }
        }
        self.look().await;
    }

    /// Writes the checkpoint if the log has grown since the last one. A vault whose log is not what was said of it says nothing more.
    pub async fn look(&mut self) {
        if self.vault.lost().is_some() {
            return;
        }
        let head = self.vault.views().position();
        let grown = self.written.as_ref().is_none_or(|written| written.position < head);
        if grown && !self.write(head).await {
            return;
        }
        self.anchor().await;
    }

    /// Whether there is a new checkpoint on the disk.
    async fn write(&mut self, head: Position) -> bool {
        let signed = match self.vault.checkpoint(head).await {
            Ok(signed) => signed,
            Err(error) => {
                self.vault.warn(NEWEST, Some(format!("no checkpoint can be made: {error}")));
                return false;
            }
        };
        let (path, note) = (self.newest.clone(), Arc::clone(&signed.note));
        let written = blocking(move || write_newest(&path, &note)).await;
        self.vault.warn(NEWEST, written.as_ref().err().map(|error| format!("the checkpoint cannot be written: {error}")));
        if written.is_ok() {
            self.written = Some(signed);
        }
        written.is_ok()
    }

    /// Gives the newest checkpoint to the anchors. While a restored vault holds back everything outbound, they hear nothing: a drill must not speak
    /// for the vault that it was restored from.
    async fn anchor(&mut self) {
        let Some(written) = self.written.as_ref().filter(|_| !self.vault.views().is_held()) else { return };
        let note = Arc::clone(&written.note);
        self.url.send_if_modified(|outgoing| {
            let newer = outgoing.as_ref() != Some(&note);
            *outgoing = Some(Arc::clone(&note));
            newer
        });
        let Some(file) = self.file.clone().filter(|_| self.anchored.as_ref() != Some(&note)) else { return };
        let (now, text) = (self.clock.now(), Arc::clone(&note));
        let appended = blocking(move || file.append(now, &text)).await;
        self.vault.warn(FILE, appended.as_ref().err().map(|error| format!("the anchor file cannot be written: {error}")));
        if appended.is_ok() {
            self.anchored = Some(note);
        }
    }

    /// Where the newest checkpoint lies in a data directory.
    #[must_use]
    pub fn path(data: &Path) -> PathBuf {
        data.join("checkpoint")
    }
}

/// Sends what is outgoing to a URL until `stop` becomes true, again and again where it is not taken.
pub async fn post_newest(vault: Arc<Vault>, mut post: Post, mut outgoing: watch::Receiver<Option<Arc<str>>>, mut stop: watch::Receiver<bool>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = told(&mut stop) => return,
        }
        let Some(note) = outgoing.borrow_and_update().clone() else { continue };
        post_one(&vault, &mut post, &note, vault.steady()).await;
    }
}

/// Sends a note if it is due. Whether it was sent.
pub async fn post_one(vault: &Vault, post: &mut Post, note: &Arc<str>, now: Moment) -> bool {
    if vault.views().is_held() || !post.wants(note, now) {
        return false;
    }
    let sent = post.send(note, now).await;
    vault.warn(URL, sent.as_ref().err().map(|error| format!("the anchor at a URL does not take checkpoints: {error}")));
    sent.is_ok()
}

async fn blocking(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> std::io::Result<()> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
