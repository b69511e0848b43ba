//! Answers that last: an export that is written while it comes, and a tail that goes on by itself.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::client::{Call, Client, Failure};
use super::cut::Watch;
use super::verb::Way;
use super::{Output, Remote, print, show};

/// A stream that says nothing for so long is lost: the server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait before a lost stream is taken up again; twice as long after each failure.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest event, in bytes.
const LINE: usize = 16 * 1024 * 1024;

impl Remote {
    /// Writes an export to a file or to stdout. One that was cut off is said so, and its file is not put in place.
    pub(super) async fn export(&self, client: &Client) -> anyhow::Result<()> {
        let csv = self.text("format") == Some("csv");
        let mut query = self.query(client).await?;
        query.retain(|(name, _)| *name != "format");
        query.push(("format", if csv { "csv" } else { "jsonl" }.to_owned()));
        let mut file = self.text("file").map(|path| Whole::begin(Path::new(path))).transpose()?;
        let call = Call { method: "GET", path: self.path("")?, query, repeatable: true, ..Call::default() };
        let mut answer = client.open(&call, None).await?;
        let end: Option<u64> = answer.headers().get("keyledger-position").and_then(|position| position.to_str().ok()?.parse().ok());
        let bar = if file.is_some() { ProgressBar::new(end.unwrap_or(0)) } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{bar:40} position {pos}/{len}")?);
        let mut watch = Watch::new(csv);
        let cut = || Failure::new("the export was cut off before its last line").then("run it anew; what came so far is not whole");
        loop {
            let chunk = match tokio::time::timeout(SILENCE, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break,
                Ok(Err(_)) | Err(_) => return Err(cut().into()),
            };
            watch.take(&chunk);
            match &mut file {
                Some(file) => file.write(&chunk)?,
                None => print(&chunk, false)?,
            }
            bar.set_position(watch.position());
        }
        bar.finish_and_clear();
        let Some((events, through, checkpoint)) = watch.whole() else { return Err(cut().into()) };
        if let Some(file) = file.take() {
            let beside = checkpoint.map(|note| file.beside("checkpoint", &note)).transpose()?;
            file.place()?;
            if let Some(beside) = beside {
                eprintln!("{} is the checkpoint that it leads to: `keyledger audit verify --file … --checkpoint …` checks it", beside.display());
            }
        }
        eprintln!("{events} events, through position {through}");
        Ok(())
    }

    /// Shows events as they come, and takes the stream up again where it was lost.
    pub(super) async fn tail(&self, client: &Client) -> anyhow::Result<()> {
        let query = self.query(client).await?;
        let mut left = self.given.get_one::<NonZeroUsize>("limit").map_or(usize::MAX, |limit| limit.get());
        let (mut last, mut pause) = (None::<u64>, PAUSE);
        loop {
            // What was seen says where to go on; where it began, only once.
            let query = query.iter().filter(|(name, _)| last.is_none() || *name != "from").cloned().collect();
            let call = Call { method: "GET", path: self.path("")?, query, repeatable: true, ..Call::default() };
            match client.open(&call, last).await {
                Ok(mut answer) => {
                    let mut stream = Stream::default();
                    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE, answer.chunk()).await {
                        for (id, data) in stream.take(&chunk)? {
                            (last, pause) = (id.or(last), PAUSE);
                            let Some(data) = data else { continue };
                            self.told(&data)?;
                            left -= 1;
                            if left == 0 {
                                return Ok(());
                            }
                        }
                    }
                    eprintln!("the stream ended; taking it up again");
                }
                // It may be there again in a moment; everything else stays as it is.
                Err(failure) if [0, 429, 502, 503, 504].contains(&failure.status) && last.is_some() => eprintln!("{failure}; trying again"),
                Err(failure) => return Err(failure.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn told(&self, data: &str) -> anyhow::Result<()> {
        let Ok(event @ Value::Object(_)) = serde_json::from_str::<Value>(data) else {
            bail!("an event that is none of a keyledger server's: is --server right?")
        };
        let text = match self.connect.output {
            Output::Json => event.to_string() + "\n",
            Output::Table => show::line(self.noun.columns, &event),
        };
        print(text.as_bytes(), false)
    }

    /// Whether the verb's answer lasts, and then what came of it.
    pub(super) async fn lasting(&self, client: &Client) -> Option<anyhow::Result<()>> {
        match self.verb.way {
            Way::Answer => None,
            Way::Export => Some(self.export(client).await),
            Way::Tail => Some(self.tail(client).await),
        }
    }
}

/// A file that is put in place when it is whole.
struct Whole {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Whole {
    fn begin(path: &Path) -> anyhow::Result<Self> {
        ensure!(!path.exists(), "{} is there already; an export writes over nothing", path.display());
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        Ok(Self { path: path.to_owned(), file: file.with_context(|| format!("cannot write {}", part.display()))?, part })
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.part.display()))
    }

    /// Writes what belongs to it into a file beside it.
    fn beside(&self, ending: &str, text: &str) -> anyhow::Result<PathBuf> {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".");
        path.push(ending);
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn place(self) -> anyhow::Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.part.display()))?;
        // A link and not a renaming: that would write over a file that came meanwhile.
        match fs::hard_link(&self.part, &self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there by now; the export lies in {}", self.path.display(), self.part.display())
            }
            other => other.and_then(|()| fs::remove_file(&self.part)).with_context(|| format!("cannot make {}", self.path.display())),
        }
    }
}

/// Server-sent events, put together from the pieces that come.
#[derive(Default)]
struct Stream {
    rest: Vec<u8>,
}

/// An id, and what was told under it.
type Told = (Option<u64>, Option<String>);

impl Stream {
    fn take(&mut self, chunk: &[u8]) -> anyhow::Result<Vec<Told>> {
        self.rest.extend_from_slice(chunk);
        let mut told = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&block);
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
            told.push((field("id:").and_then(|id| id.parse().ok()), field("data:").map(str::to_owned)));
        }
        ensure!(self.rest.len() <= LINE, "an event is longer than {LINE} bytes: is --server right?");
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_they_come_in_pieces() {
        let text = "id: 3\n: from here on\n\nid: 4\ndata: {\"a\":1}\n\n: nothing\n\nid: 9\ndata: {\"b\":\"ü\"}\n\n";
        let expected = vec![(Some(3), None), (Some(4), Some("{\"a\":1}".to_owned())), (None, None), (Some(9), Some("{\"b\":\"ü\"}".to_owned()))];
        for size in 1..text.len() {
            let mut stream = Stream::default();
            let told: Vec<Told> = text.as_bytes().chunks(size).flat_map(|chunk| stream.take(chunk).unwrap()).collect();
            assert_eq!(told, expected, "in pieces of {size}");
        }
    }
}
