//! What every surface shares: limits, strict bodies, forms, the caller's headers, problems, pages, bodies that
//! are made while they are sent, the point in time that a read asks for.

pub mod as_of;
pub mod body;
pub mod caller;
pub mod form;
pub mod front;
pub mod limits;
pub mod page;
pub mod pieces;
pub mod problem;
mod strict;
pub mod trouble;
