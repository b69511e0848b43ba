//! Verbs that stand among those that ask a server, and are more than a request.

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::remote::Remote;
use super::verify::Verify;

/// A verb below a noun of the remote ones.
const AUDIT: &str = "audit";
const VERIFY: &str = "verify";

/// What was asked.
pub(super) enum Further {
    Remote(Box<Remote>),
    Verify(Box<Verify>),
}

impl Subcommand for Further {
    fn augment_subcommands(command: Command) -> Command {
        let command = Remote::augment_subcommands(command);
        let verify = Verify::augment_args(Command::new(VERIFY));
        if command.find_subcommand(AUDIT).is_some() {
            return command.mut_subcommand(AUDIT, |audit| audit.subcommand(verify));
        }
        let audit = Command::new(AUDIT).about("The log as an auditor sees it").subcommand_required(true).disable_help_subcommand(true);
        command.subcommand(audit.subcommand(verify))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name == AUDIT || Remote::has_subcommand(name)
    }
}

impl FromArgMatches for Further {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        if let Some((AUDIT, audit)) = matches.subcommand()
            && let Some((VERIFY, verify)) = audit.subcommand()
        {
            return Verify::from_arg_matches(verify).map(|verify| Self::Verify(Box::new(verify)));
        }
        Remote::from_arg_matches(matches).map(|remote| Self::Remote(Box::new(remote)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Further {
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Remote(remote) => remote.run().await,
            Self::Verify(verify) => verify.run().await,
        }
    }
}
