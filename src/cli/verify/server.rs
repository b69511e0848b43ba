//! A running server: its checkpoint, and that nothing before the last one that was seen has changed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::super::remote::{Call, Client};
use super::{Failed, Report, Verify, progress, read, read_leaves, wrong};
use crate::jobs::write_newest;
use crate::seal::checkpoint::{Checkpoint, VerifierKey, place};
use crate::seal::merkle::Frontier;
use crate::seal::proof::is_consistent;

/// Leaf hashes that are asked for at once: as many as the server gives.
const PAGE: u64 = 4096;

#[derive(Deserialize)]
struct Consistency {
    proof: Vec<String>,
}

#[derive(Deserialize)]
struct Leaves {
    hashes: Vec<String>,
}

fn unhex(text: &str) -> Result<[u8; 32], Failed> {
    let mut hash = [0; 32];
    let read = base16ct::lower::decode(text, &mut hash).map(<[u8]>::len);
    if read == Ok(32) { Ok(hash) } else { Err(wrong("the server gives a hash that is none")) }
}

impl Verify {
    pub(super) async fn check_server(&self) -> Result<Report, Failed> {
        let client = Client::new(&self.connect, false)?;
        // The checkpoint first: the key of an epoch that begins meanwhile is the same.
        let note = self.ask(&client, &["log", "checkpoint"], Vec::new()).await?;
        let shown: VerifierKey = self.ask(&client, &["log", "key"], Vec::new()).await?.trim().parse().context("the server's key")?;
        let Some(trusted) = self.known()?.trust(None, Some(&shown))? else { return Err(wrong("the server's key is not of a keyledger log")) };
        let checkpoint = trusted.read(&note, "of the server")?;
        let mut report = Report {
            fields: vec![
                ("size", json!(checkpoint.size)),
                ("root", json!(base16ct::lower::encode_string(&checkpoint.root))),
                ("epoch", json!(place(&checkpoint.origin).map(|(_, epoch)| epoch.number))),
            ],
        };
        if let Some(path) = &trusted.pinned {
            report.fields.push(("key_pinned", json!(path)));
        }
        if let Some(path) = &self.checkpoint {
            let size = self.check_earlier(&client, &checkpoint, &trusted.read(&read(path)?, "of --checkpoint")?).await?;
            report.fields.push(("consistent_with_checkpoint", json!(size)));
        }
        if let Some(path) = &self.since {
            if path.exists() {
                let size = self.check_earlier(&client, &checkpoint, &trusted.read(&read(path)?, "of --since")?).await?;
                report.fields.push(("consistent_with", json!(size)));
            } else {
                report.fields.push(("first_seen", json!(path)));
            }
            write_newest(path, &note).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(path) = &self.leaves {
            let new = self.check_leaves(&client, &checkpoint, path).await?;
            report.fields.push(("new_leaves", json!(new)));
        }
        Ok(report)
    }

    async fn ask(&self, client: &Client, path: &[&str], query: Vec<(&'static str, String)>) -> Result<String, Failed> {
        let call = Call { method: "GET", path: path.to_vec(), query, ..Call::default() };
        let answer = client.send(&call).await.map_err(|failure| match failure.next.clone() {
            Some(next) => anyhow::anyhow!("{failure}\nnext: {next}"),
            None => failure.into(),
        })?;
        Ok(String::from_utf8(answer.to_vec()).context("an answer that is none of a keyledger server")?)
    }

    /// That a checkpoint that was seen is the beginning of this one; its size.
    async fn check_earlier(&self, client: &Client, now: &Checkpoint, since: &Checkpoint) -> Result<u64, Failed> {
        let restored = since.origin != now.origin;
        let history = if restored { format!(" (the vault was restored since: {} was {})", now.origin, since.origin) } else { String::new() };
        if now.size < since.size {
            return Err(wrong(format!("the log has {} leaves; {} of it were seen: it was rolled back{history}", now.size, since.size)));
        }
        let query = vec![("from", since.size.to_string()), ("to", now.size.to_string())];
        let answer = self.ask(client, &["log", "proofs", "consistency"], query).await?;
        let proof: Consistency = serde_json::from_str(&answer).context("an answer that is none of a keyledger server")?;
        let proof = proof.proof.iter().map(|hash| unhex(hash)).collect::<Result<Vec<_>, _>>()?;
        if is_consistent((since.size, &since.root), (now.size, &now.root), &proof) {
            Ok(since.size)
        } else {
            let text = format!("the first {} leaves are not those that were seen: the log was changed{history}", since.size);
            Err(wrong(text))
        }
    }

    /// That all leaf hashes make the checkpoint's root, those that were kept included; the new ones are kept. How many there were.
    async fn check_leaves(&self, client: &Client, now: &Checkpoint, path: &Path) -> Result<u64, Failed> {
        let mut hashes = read_leaves(path)?;
        let kept = hashes.len();
        let bar = progress(now.size)?;
        while (hashes.len() as u64) < now.size {
            let limit = PAGE.min(now.size - hashes.len() as u64);
            let query = vec![("from", hashes.len().to_string()), ("limit", limit.to_string())];
            let page: Leaves =
                serde_json::from_str(&self.ask(client, &["log", "leaves"], query).await?).context("an answer that is none of a keyledger server")?;
            if page.hashes.is_empty() || page.hashes.len() as u64 > limit {
                return Err(wrong(format!("the server gives {} leaf hashes from {} on, where its checkpoint has {limit}", page.hashes.len(), hashes.len())));
            }
            for hash in &page.hashes {
                hashes.push(unhex(hash)?);
            }
            bar.set_position(hashes.len() as u64);
        }
        bar.finish_and_clear();
        let mut tree = Frontier::default();
        for hash in hashes.iter().take(usize::try_from(now.size).unwrap_or(usize::MAX)) {
            tree.push(*hash);
        }
        if hashes.len() as u64 > now.size || tree.root() != now.root {
            return Err(wrong("the leaf hashes, those that were kept and those that the server gives, do not make the root that it signed"));
        }
        let text: String = hashes.iter().map(|hash| base16ct::lower::encode_string(hash) + "\n").collect();
        let partial = path.with_extension("partial");
        fs::write(&partial, text).and_then(|()| fs::rename(&partial, path)).with_context(|| format!("cannot write {}", path.display()))?;
        Ok((hashes.len() - kept) as u64)
    }
}
