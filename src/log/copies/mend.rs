//! Mending: what a crash left is levelled in place; what is damaged is made anew from the merged copies, and then put in the place of the old.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::merge::{LOG, Merge};
use super::{Copy, Depth, Need, Repair, Survey, survey};
use crate::kernel::{Position, VaultId};
use crate::log::rows::Filler;
use crate::log::segment::{FOLDER, Signer, Writer, files, set_aside, sync_folder, title};
use crate::log::{Checkpoint, DoubledLog, LogError, whole_block};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// Where new segments are made, inside their folder.
const MAKING: &str = "making.partial";

fn broken(path: &Path, error: &impl ToString) -> LogError {
    LogError::Engine(format!("{}: {}", path.display(), error.to_string()))
}

/// Opens the log of a data directory over both copies, mended; tells what was repaired. Refuses where they have forked or lost something.
pub fn open(data: &Path, vault: VaultId, signer: &Signer, checkpoints: &[Checkpoint]) -> Result<(DoubledLog, Vec<Repair>), LogError> {
    let survey = survey(data, vault, Depth::Tail, checkpoints);
    let repairs = mend(data, vault, &survey, signer)?;
    Ok((DoubledLog::open(data, vault, signer.clone())?, repairs))
}

/// Writes the segments of a log that has none yet, and that nobody else has open.
pub fn write_segments(data: &Path, vault: VaultId, signer: &Signer) -> Result<(), LogError> {
    let folder = data.join(FOLDER);
    let io = |error: io::Error| broken(&folder, &error);
    let mut writer = Writer::begin(&folder, vault, signer.clone(), Position::ZERO, Frontier::default(), false).map_err(io)?;
    let mut merge = Merge::begin(data, vault, Depth::Tail, &[]);
    copy(&mut merge, &mut writer, None, Position(u64::MAX))?;
    writer.sync().map_err(io)
}

/// Brings both copies to what the survey saw in either. Nobody else may have them open.
pub fn mend(data: &Path, vault: VaultId, survey: &Survey, signer: &Signer) -> Result<Vec<Repair>, LogError> {
    match &survey.refusal {
        Some(refusal) => Err(LogError::Engine(refusal.to_string())),
        None => mend_what_is_left(data, vault, survey, signer),
    }
}

/// As [`mend`], also where the end of the log is lost: what is there is kept.
pub fn mend_what_is_left(data: &Path, vault: VaultId, survey: &Survey, signer: &Signer) -> Result<Vec<Repair>, LogError> {
    let mut repairs = Vec::new();
    let (log, folder) = (data.join(LOG), data.join(FOLDER));
    if survey.log.need == Need::Repair || survey.segments.need == Need::Repair {
        remake(data, vault, survey, signer, &mut repairs)?;
    }
    if survey.log.need == Need::Level {
        level_log(data, &log, vault, survey)?;
    }
    if survey.segments.need == Need::Level {
        level_segments(data, &folder, vault, survey, signer)?;
    }
    Ok(repairs)
}

/// The merged records after a position.
fn merged(data: &Path, vault: VaultId, survey: &Survey, from: Position) -> Merge {
    let depth = if from >= survey.from { survey.depth } else { Depth::Whole };
    let mut merge = Merge::begin(data, vault, depth, &[]);
    while merge.at < from && merge.next().is_some() {}
    merge
}

fn level_log(data: &Path, log: &Path, vault: VaultId, survey: &Survey) -> Result<(), LogError> {
    // The records first: the merge reads the file that is written.
    let mut merge = merged(data, vault, survey, survey.log.last);
    let records: Vec<Record> = std::iter::from_fn(|| merge.next()).collect();
    drop(merge);
    let mut filler = Filler::open(log)?;
    tracing::info!(
        from = survey.log.last.0 + 1,
        through = survey.head.0,
        "the commit of the last block had not come to its end: it is made up for from the segments"
    );
    records.into_iter().try_for_each(|record| filler.add(record))?;
    filler.commit()
}

fn level_segments(data: &Path, folder: &Path, vault: VaultId, survey: &Survey, signer: &Signer) -> Result<(), LogError> {
    if let Some(torn) = survey.parts.last().filter(|part| part.bad.is_some()) {
        tracing::info!(file = title(&torn.path), bytes = torn.length, "the end of a segment was not written whole: it is cut");
        let cut = || {
            if torn.reached == torn.before.unwrap_or_default() {
                // Not one whole frame.
                fs::remove_file(&torn.path)?;
                return sync_folder(folder);
            }
            let file = File::options().write(true).open(&torn.path)?;
            file.set_len(torn.length)?;
            file.sync_all()
        };
        cut().map_err(|error: io::Error| broken(&torn.path, &error))?;
    }
    let mut writer = Writer::resume(folder, vault, signer.clone()).map_err(LogError::Engine)?;
    let mut merge = merged(data, vault, survey, writer.head());
    copy(&mut merge, &mut writer, None, survey.head)
}

/// Appends merged records through a position, in blocks of whole groups, and adds them to a file that is made anew.
fn copy(merge: &mut Merge, writer: &mut Writer, mut filler: Option<&mut Filler>, until: Position) -> Result<(), LogError> {
    let mut waiting: Vec<Record> = Vec::new();
    loop {
        while waiting.len() < crate::log::MAX_BLOCK_RECORDS && merge.at < until {
            let Some(record) = merge.next() else { break };
            filler.as_mut().map_or(Ok(()), |filler| filler.add(record.clone()))?;
            waiting.push(record);
        }
        if waiting.is_empty() {
            return Ok(());
        }
        // A group that never ended is kept as it is.
        let count = whole_block(&waiting).max(1);
        let block: Vec<Record> = waiting.drain(..count).collect();
        writer.append(writer.head(), &block).map_err(|error| LogError::Engine(format!("{FOLDER}: {error}")))?;
    }
}

/// A range of positions whose files are to be made anew.
struct Hole {
    after: Position,
    through: Position,
    files: Vec<PathBuf>,
    cause: String,
}

/// Where segments are missing or damaged, in order.
fn holes(survey: &Survey) -> Vec<Hole> {
    let mut holes: Vec<Hole> = Vec::new();
    let mut reached = survey.from;
    let cause = || survey.segments.cause.clone().unwrap_or_else(|| "they end there".into());
    for part in &survey.parts {
        let is_good = part.bad.is_none();
        if let (true, Some(before)) = (is_good, part.before) {
            match holes.last_mut().filter(|hole| hole.through == Position(u64::MAX)) {
                Some(open) => open.through = before,
                None if before > reached => holes.push(Hole { after: reached, through: before, files: Vec::new(), cause: cause() }),
                None => {}
            }
            reached = reached.max(part.reached);
            continue;
        }
        let named = format!("{} {}", title(&part.path), part.bad.as_ref().map(ToString::to_string).unwrap_or_default());
        match holes.last_mut().filter(|hole| hole.through == Position(u64::MAX)) {
            Some(open) => open.files.push(part.path.clone()),
            None => holes.push(Hole { after: reached, through: Position(u64::MAX), files: vec![part.path.clone()], cause: named }),
        }
    }
    match holes.last_mut().filter(|hole| hole.through == Position(u64::MAX)) {
        Some(open) => open.through = survey.head,
        None if reached < survey.head => holes.push(Hole { after: reached, through: survey.head, files: Vec::new(), cause: cause() }),
        None => {}
    }
    holes
}

/// Makes what is damaged anew beside its place, from one walk over the merged records, and then moves it there.
fn remake(data: &Path, vault: VaultId, survey: &Survey, signer: &Signer, repairs: &mut Vec<Repair>) -> Result<(), LogError> {
    let (folder, making) = (data.join(FOLDER), data.join(FOLDER).join(MAKING));
    let partial = data.join(format!("{LOG}.partial"));
    let holes = if survey.segments.need == Need::Repair { holes(survey) } else { Vec::new() };
    let fresh_log = survey.log.need == Need::Repair;
    clear(&making).and_then(|()| clear_log(&partial)).map_err(|error| broken(&making, &error))?;
    let start = if fresh_log { Position::ZERO } else { survey.from };
    let mut merge = merged(data, vault, survey, start);
    let mut filler = fresh_log.then(|| Filler::open(&partial)).transpose()?;
    for hole in &holes {
        skip(&mut merge, hole.after, filler.as_mut())?;
        let mut writer = Writer::begin(&making, vault, signer.clone(), merge.at, merge.tree.clone(), false).map_err(|error| broken(&making, &error))?;
        copy(&mut merge, &mut writer, filler.as_mut(), hole.through)?;
        let ended = if hole.through < survey.head { writer.close() } else { writer.sync() };
        ended.map_err(|error| broken(&making, &error))?;
    }
    skip(&mut merge, survey.head, filler.as_mut())?;
    drop(merge);
    filler.map_or(Ok(()), Filler::finish)?;
    for hole in holes {
        repairs.push(swap_segments(&folder, hole).map_err(|error| broken(&folder, &error))?);
    }
    place_segments(&folder, &making).map_err(|error| broken(&folder, &error))?;
    if fresh_log {
        repairs.push(swap_log(data, &partial, survey).map_err(|error| broken(&partial, &error))?);
    }
    Ok(())
}

fn skip(merge: &mut Merge, until: Position, mut filler: Option<&mut Filler>) -> Result<(), LogError> {
    while merge.at < until
        && let Some(record) = merge.next()
    {
        filler.as_mut().map_or(Ok(()), |filler| filler.add(record))?;
    }
    Ok(())
}

fn clear(folder: &Path) -> io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}

fn clear_log(path: &Path) -> io::Result<()> {
    for end in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{end}", path.display()));
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Sets the damaged files of a hole aside.
fn swap_segments(folder: &Path, hole: Hole) -> io::Result<Repair> {
    let mut kept = Vec::new();
    for file in &hole.files {
        kept.push(format!("{FOLDER}/{}", title(&set_aside(file)?)));
    }
    sync_folder(folder)?;
    let aside = (!kept.is_empty()).then(|| kept.join(", "));
    Ok(Repair { copy: Copy::Segments, from: hole.after.next(), through: hole.through, cause: hole.cause, aside })
}

/// Moves what was made to its place; durable on return.
fn place_segments(folder: &Path, making: &Path) -> io::Result<()> {
    for file in files(making)? {
        fs::rename(&file, folder.join(title(&file)))?;
    }
    clear(making)?;
    if folder.exists() { sync_folder(folder) } else { Ok(()) }
}

/// Sets the damaged file aside with its WAL, and puts the new one in its place; durable on return.
fn swap_log(data: &Path, partial: &Path, survey: &Survey) -> io::Result<Repair> {
    let log = data.join(LOG);
    let mut aside = None;
    if log.exists() {
        let kept = set_aside(&log)?;
        // With the WAL beside it, the old file can be opened as it was; the index of the WAL is made anew by whoever opens it.
        for end in ["-wal", "-shm"] {
            let (from, into) = (PathBuf::from(format!("{}{end}", log.display())), PathBuf::from(format!("{}{end}", kept.display())));
            if from.exists() {
                fs::rename(from, into)?;
            }
        }
        aside = Some(title(&kept));
    } else {
        clear_log(&log)?;
    }
    fs::rename(partial, &log)?;
    sync_folder(data)?;
    let span = survey.log.lacks.first();
    let from = span.map_or(Position(1), |span| span.from);
    let through = survey.log.lacks.last().map_or(survey.head, |span| span.through);
    let cause = survey.log.cause.clone().unwrap_or_else(|| format!("it ended at position {}, before the segments did", survey.log.last));
    Ok(Repair { copy: Copy::Sqlite, from, through, cause, aside })
}
