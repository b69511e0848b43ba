//! `keyledger init`

use clap::Args;
use serde_json::json;

use super::{DataArgs, Output, print};

#[derive(Args)]
pub(super) struct Init {
    #[command(flatten)]
    data: DataArgs,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Init {
    pub async fn run(self) -> anyhow::Result<()> {
        let begun = self.data.home().init().await?;
        let token = std::str::from_utf8(begun.owner_token.expose())?;
        let fields = [
            ("vault_id", json!(begun.vault.to_string())),
            ("data", json!(self.data.data)),
            ("root_key_file", json!(begun.root_key_file)),
            ("owner_token", json!(token)),
        ];
        print(self.output, &fields);
        if self.output == Output::Table {
            println!("\nThe token is shown this once. Keep the root key file apart from the data: without it nothing can be opened again.");
        }
        Ok(())
    }
}
