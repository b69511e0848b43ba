//! The outbound OAuth client: what an exchange sends, and how its answer is read.

mod access;
mod answer;
mod authorize;
mod call;
mod exchange;
mod hosts;
mod lost;
mod request;
mod revoke;

pub use access::{NoCredentials, Usable};
pub use answer::read_answer;
pub use authorize::{Asked, Begin, Begun, authorize_url};
pub use exchange::{Exchanges, Landed, Since, Wanted, What};
pub use hosts::{Bearing, Hosts};
pub use request::{Grant, Settings, TokenRequest, fill, token_request};
