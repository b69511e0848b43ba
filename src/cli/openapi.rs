//! `keyledger openapi`

use std::io::Write;

use clap::Args;

#[derive(Args)]
pub(super) struct Openapi {}

impl Openapi {
    #[expect(clippy::unused_self, reason = "verbs have one shape")]
    pub fn run(self) -> anyhow::Result<()> {
        Ok(std::io::stdout().write_all(crate::surfaces::document().as_bytes())?)
    }
}
