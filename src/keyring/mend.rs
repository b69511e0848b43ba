//! Mending: each file is repaired from the other. All is surveyed before anything is written, so that what cannot be mended stays as it lies.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::KeyringError;
use super::file::{self, Found, Row, TABLES, Table};
use super::pair::{ASIDE, NAMES, both_keys, merge};

/// Rows that are written at once while a file is made anew: at most 2 MiB.
const CHUNK: usize = 64;

/// Which of the two files.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    First,
    Second,
}

impl Side {
    const fn name(self) -> &'static str {
        let [first, second] = NAMES;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

/// What is to be done.
#[derive(Default)]
struct Plan {
    /// Rows that one side lacks or holds damaged, and the side.
    copies: Vec<(Side, &'static Table, Row)>,
    /// Rows of which one side has lost a destruction or a rotation.
    merges: Vec<(&'static Table, Row)>,
    first: Marks,
    second: Marks,
}

/// What was seen of one side.
#[derive(Default)]
struct Marks {
    /// Rows damaged here, whole in the other.
    bad: usize,
    /// Damaged rows that the other knows nothing of: the key itself is damaged, or the write never reached the other.
    orphans: usize,
}

impl Plan {
    /// The one side that must be made anew because it holds rows nobody can name; an error when the other cannot vouch for the whole.
    fn broken(&self, other_is_readable: bool) -> Result<Option<Side>, KeyringError> {
        let sound = |marks: &Marks| other_is_readable && marks.bad == 0 && marks.orphans == 0;
        match (self.first.orphans, self.second.orphans) {
            (0, 0) => Ok(None),
            (_, 0) if sound(&self.second) => Ok(Some(Side::First)),
            (0, _) if sound(&self.first) => Ok(Some(Side::Second)),
            _ => Err(KeyringError::Damaged("a row is whole in neither copy".into())),
        }
    }
}

/// Opens both files of a folder, mended, and tells what was done.
pub(super) fn mend(folder: &Path) -> Result<(Connection, Connection, Vec<String>), KeyringError> {
    let [first_path, second_path] = NAMES.map(|name| folder.join(name));
    let (first, second) = match (whole(&first_path), whole(&second_path)) {
        (Err(first), Err(second)) => return Err(KeyringError::Damaged(format!("neither copy opens: {first}; {second}"))),
        (first, second) => (first.ok(), second.ok()),
    };
    let plan = survey([first.as_ref(), second.as_ref()])?;
    let broken = plan.broken(first.is_some() && second.is_some())?;
    let (mut repairs, mut first, mut second) = (Vec::new(), first, second);
    if let (Some(first), Some(second)) = (&mut first, &mut second) {
        repairs = apply(&plan, broken, first, second)?;
    }
    let (first, second) = match (first, second, broken) {
        (Some(first), Some(second), None) => (first, second),
        (damaged, Some(second), Some(Side::First) | None) => (anew(damaged, &first_path, &second, &mut repairs)?, second),
        (Some(first), damaged, _) => {
            let second = anew(damaged, &second_path, &first, &mut repairs)?;
            (first, second)
        }
        _ => return Err(KeyringError::Damaged("neither copy opens".into())),
    };
    Ok((first, second, repairs))
}

/// Mends rows between two open files.
pub(super) fn level(first: &mut Connection, second: &mut Connection) -> Result<Vec<String>, KeyringError> {
    let plan = survey([Some(first), Some(second)])?;
    match plan.broken(true)? {
        None => apply(&plan, None, first, second),
        Some(side) => Err(KeyringError::Damaged(format!("{} must be made anew: restart", side.name()))),
    }
}

fn survey(files: [Option<&Connection>; 2]) -> Result<Plan, KeyringError> {
    let mut plan = Plan::default();
    let found = |file: Option<&Connection>, table, key: &Row| file.map_or(Ok(Found::Absent), |file| file::get(file, table, key));
    let [first, second] = files;
    for table in &TABLES {
        for key in both_keys(files, table)?.into_values() {
            match (found(first, table, &key)?, found(second, table, &key)?) {
                (Found::Whole(one), Found::Whole(other)) if one == other => {}
                (Found::Whole(one), Found::Whole(other)) => {
                    // What only the root key can tell apart is settled when that is there.
                    if merge(table, &one, &other)?.is_some() {
                        plan.merges.push((table, key));
                    }
                }
                (Found::Whole(_), lost) => {
                    plan.second.bad += usize::from(lost == Found::Bad);
                    plan.copies.push((Side::Second, table, key));
                }
                (lost, Found::Whole(_)) => {
                    plan.first.bad += usize::from(lost == Found::Bad);
                    plan.copies.push((Side::First, table, key));
                }
                (Found::Bad, Found::Absent) => plan.first.orphans += 1,
                (Found::Absent, Found::Bad) => plan.second.orphans += 1,
                (Found::Bad, Found::Bad) | (Found::Absent, Found::Absent) => {
                    return Err(KeyringError::Damaged(format!("a row of {} is whole in neither copy", table.name)));
                }
            }
        }
    }
    Ok(plan)
}

/// Writes what each side lacks; rows for a side that is made anew come with that.
fn apply(plan: &Plan, broken: Option<Side>, first: &mut Connection, second: &mut Connection) -> Result<Vec<String>, KeyringError> {
    let mut repairs = Vec::new();
    for (side, table, key) in plan.copies.iter().filter(|(side, ..)| broken != Some(*side)) {
        let (from, into) = match side {
            Side::First => (&*second, &mut *first),
            Side::Second => (&*first, &mut *second),
        };
        if let Found::Whole(row) = file::get(from, table, key)? {
            file::put(&mut [into], &[(table, &row)])?;
            repairs.push(format!("a row of {} was restored in {}", table.name, side.name()));
        }
    }
    for (table, key) in &plan.merges {
        if let (Found::Whole(one), Found::Whole(other)) = (file::get(first, table, key)?, file::get(second, table, key)?)
            && let Some(merged) = merge(table, &one, &other)?
        {
            file::put(&mut [&mut *first, &mut *second], &[(table, &merged)])?;
            let lost = if one.split_last().map(|(_, head)| head) == other.split_last().map(|(_, head)| head) { "destruction" } else { "rotation" };
            repairs.push(format!("a row of {} had lost a {lost} in one copy", table.name));
        }
    }
    Ok(repairs)
}

/// Opens a file and reads it to its end, its indexes too, so that damage anywhere is found now.
fn whole(path: &Path) -> Result<Connection, KeyringError> {
    let connection = file::open(path, false, false)?;
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(connection) } else { Err(KeyringError::Damaged(verdict)) }
}

/// Sets what lies there aside, its journal too, and makes the file anew from the other one.
fn anew(damaged: Option<Connection>, path: &Path, from: &Connection, repairs: &mut Vec<String>) -> Result<Connection, KeyringError> {
    drop(damaged);
    let named = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    if path.exists() {
        let number = (1..u32::MAX).find(|number| !named(&format!("{ASIDE}{number}")).exists()).unwrap_or(u32::MAX);
        // The journal first: SQLite would play it into a new file.
        if named("-journal").exists() {
            fs::rename(named("-journal"), named(&format!("{ASIDE}{number}-journal")))?;
        }
        fs::rename(path, named(&format!("{ASIDE}{number}")))?;
    }
    repairs.push(format!("{} was made anew from the other copy", path.display()));
    let mut file = file::open(path, true, false)?;
    for table in &TABLES {
        for keys in file::keys(from, table)?.chunks(CHUNK) {
            let mut rows = Vec::with_capacity(keys.len());
            for key in keys {
                match file::get(from, table, key)? {
                    Found::Whole(row) => rows.push(row),
                    Found::Bad | Found::Absent => return Err(KeyringError::Damaged(format!("a row of {} was damaged just now", table.name))),
                }
            }
            file::put(&mut [&mut file], &rows.iter().map(|row| (table, row)).collect::<Vec<_>>())?;
        }
    }
    Ok(file)
}
