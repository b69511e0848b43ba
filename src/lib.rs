//! keyledger: an event-sourced credential vault.
//!
//! The rooms, from the inside out; each imports only rooms above it in this list (`tests/it/tidy.rs` enforces it).

pub mod cli;
pub mod credentials;
pub mod egress;
pub mod jobs;
pub mod kernel;
pub mod keyring;
pub mod log;
pub mod oauth;
pub mod proxy;
pub mod seal;
pub mod server;
pub mod surfaces;
pub mod vault;
pub mod views;
pub mod web;
