//! `keyledger completions`

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args)]
pub(super) struct Completions {
    /// For which shell. In bash: `source <(keyledger completions bash)`.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "keyledger", &mut script);
        Ok(std::io::stdout().write_all(&script)?)
    }
}
