//! Secrets that a person or a program gives: asked for without echo on a terminal, otherwise a line of stdin each. Never of the command line.

use std::io::{BufRead, IsTerminal, Read, stdin};

use anyhow::{Context, ensure};
use zeroize::Zeroizing;

/// The longest line: a password or a token of any sort is shorter.
const LINE: u64 = 16 * 1024;

/// A secret that somebody has.
pub(super) fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if stdin().is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(format!("{prompt}: ")).context("the terminal gives no answer")?));
    }
    let mut line = Zeroizing::new(String::with_capacity(1024));
    stdin().lock().take(LINE).read_line(&mut line).context("stdin gives no line of text")?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    ensure!(!line.is_empty(), "{} is expected as a line of stdin, which is empty", prompt.to_lowercase());
    Ok(line)
}

/// A password to be set: a person types it twice.
pub(super) fn new_password() -> anyhow::Result<Zeroizing<String>> {
    let password = ask("New password")?;
    if stdin().is_terminal() {
        ensure!(password == ask("The same again")?, "the two differ; nothing was changed");
    }
    Ok(password)
}
