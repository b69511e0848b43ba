//! The outbound OAuth client: what an exchange sends, and how its answer is read.

mod answer;
mod exchange;
mod request;

pub use answer::read_answer;
pub use exchange::{Exchanges, Landed, Wanted};
pub use request::{Grant, Settings, TokenRequest, token_request};
