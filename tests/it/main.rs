//! The integration tests, one binary. Modules mirror the rooms.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod canary;
mod cli;
mod clock_leap;
mod credentials_connection;
mod credentials_connector;
mod documented;
mod egress;
mod event_shapes;
mod event_shapes_issued;
mod exchange;
mod exchange_bench;
mod exchange_hostile;
mod exchange_killed;
mod fixed;
mod fixed_clock;
mod front;
mod hostile_endpoint;
mod keyring;
mod keyring_faults;
mod log_bench;
mod log_contract;
mod log_powerloss;
mod log_restart;
mod model;
mod model_connection;
mod model_wire;
mod oauth_request;
mod property;
mod property_known;
mod property_steps;
mod restore;
mod seal_merkle;
mod seal_record;
mod served;
mod server;
mod tidy;
mod v1;
mod vault;
mod vault_bench;
mod vault_exchange;
mod vault_past;
mod vault_reveal;
mod views_fold;
mod web_json;
