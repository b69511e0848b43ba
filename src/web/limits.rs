//! All limits of the HTTP front, with their defaults.

use std::time::Duration;

/// The largest body, in bytes.
pub const BODY: usize = 64 * 1024;
/// The largest body of an import: two tokens and settings may come at once.
pub const BODY_IMPORT: usize = 256 * 1024;
/// The largest body of a call that is passed through; it may have to be sent twice.
pub const PROXY_BODY: usize = 4 * 1024 * 1024;
/// How deep JSON may nest.
pub const JSON_DEPTH: usize = 16;
/// How long a client may take to send its headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may wait for its next request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the unread rest of a body may take to arrive before the answer goes out.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a handler may take, its body included.
pub const HANDLER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a call that is passed through may take until the head of its answer is there: its body, two answers and two renewals, each of which
/// has its own end before.
pub const PROXY_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a recovery in place may take until its answer is there; it goes on when nobody waits any more.
pub const RECOVERY_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a connection may take nothing of what is written to it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a stream without news says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most streams and exports at once.
pub const STREAMS: usize = 128;
/// The most of them of one tenant.
pub const STREAMS_OF_TENANT: usize = 64;
/// The most of them of one user, or of a credential without one.
pub const STREAMS_OF_PRINCIPAL: usize = 8;
/// Streams and exports are sent in pieces of about so many bytes.
pub const PIECE: usize = 32 * 1024;
/// The most items of one page.
pub const PAGE_MAX: usize = 200;
/// Items of a page when the caller does not say.
pub const PAGE_DEFAULT: usize = 20;
/// The longest cursor, in characters.
pub const CURSOR: usize = 1024;
/// The most values of one filter.
pub const FILTER_VALUES: usize = 32;
/// The longest id that a caller may choose, in bytes.
pub const ID: usize = 255;
/// The longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY: usize = 255;
/// The longest bearer token, in bytes.
pub const TOKEN: usize = 4096;
/// The longest `User-Agent` that is kept, in bytes.
pub const AGENT: usize = 256;
/// The longest name of a member that an error repeats, in characters.
pub const SHOWN_NAME: usize = 64;
/// Seconds until a caller that was shed may come back.
pub const RETRY_AFTER: u32 = 1;
