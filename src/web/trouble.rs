//! Why the vault has no answer, as far as a caller may know: the rest goes to the log of the process, here and nowhere else.

use axum::http::StatusCode;

use crate::kernel::Refusal;
use crate::log::SubmitError;
use crate::vault::VaultError;

/// What became of a command or query that has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A rule said no.
    Refused(Refusal),
    /// Too much at once; the caller may come back.
    Busy,
    /// The command is larger than the log takes.
    TooLarge,
    /// The clock leapt ahead, and nobody has said yet that it is right.
    ClockLeapt,
    /// Nothing can be written for now, and nothing was.
    ReadOnly,
    /// Nothing is written: the log is not what was said of it. What is missing is for everybody to know.
    Lost(String),
    /// Nobody knows whether it was written.
    Unknown,
    /// A fault of ours.
    Internal,
}

impl Trouble {
    /// The HTTP status; a refusal's is each surface's own matter.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy | Self::ClockLeapt | Self::ReadOnly | Self::Lost(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// In a few words that hold nothing of the request.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Refused(_) => "a rule said no",
            Self::Busy => "too much at once: try again",
            Self::TooLarge => "larger than one block of the log",
            Self::ClockLeapt => "the clock leapt ahead by more than an hour: nothing is written until an operator says that the time is right",
            Self::ReadOnly => "the vault takes no writes; nothing was written",
            Self::Lost(cause) => cause,
            Self::Unknown => "it is unknown whether this was written: look before trying again",
            Self::Internal => "the vault's log says more",
        }
    }
}

impl From<&VaultError> for Trouble {
    fn from(error: &VaultError) -> Self {
        match error {
            VaultError::Refused(refusal) => Self::Refused(refusal.clone()),
            VaultError::Submit(SubmitError::Busy) => Self::Busy,
            VaultError::Submit(SubmitError::TooLarge { .. }) => Self::TooLarge,
            VaultError::Submit(SubmitError::ClockLeapt) => Self::ClockLeapt,
            VaultError::Submit(SubmitError::Lost(cause)) => Self::Lost(format!("the vault takes no writes: {cause}")),
            error if error.is_read_only() => {
                tracing::error!(%error, "the vault takes no writes");
                Self::ReadOnly
            }
            VaultError::Submit(SubmitError::Unknown(cause)) => {
                tracing::error!(%cause, "a write of unknown outcome");
                Self::Unknown
            }
            other => {
                tracing::error!(error = %other, "a request failed");
                Self::Internal
            }
        }
    }
}

impl From<VaultError> for Trouble {
    fn from(error: VaultError) -> Self {
        Self::from(&error)
    }
}
