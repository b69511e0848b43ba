//! Examples of events that came later: of keys that rotate and die, of repairs and of backups. What is made of earlier examples rests on their order.

use keyledger::credentials::{AnyEvent, tenant, vault};
use keyledger::kernel::*;

use crate::event_shapes::at;

pub fn examples() -> Vec<AnyEvent> {
    let tenant = TenantId([2; 16]);
    let from = Epoch { number: 1, id: [7; 16] };
    vec![
        vault::Event::RootRotated { root: "0123456789abcdef".into(), wraps: 3 }.into(),
        vault::Event::TenantKeyRotated { tenant, from: 1, to: 2, batches: 4 }.into(),
        vault::Event::Repaired {
            copy: "log.db".into(),
            from: Position(40),
            through: Position(90),
            cause: "it ended at position 39, before the segments did".into(),
            aside: Some("log.db.damaged-1".into()),
        }
        .into(),
        vault::Event::LossAccepted { from, position: Position(90), root: "ab".repeat(32), lost_to: Position(97), cause: "a checkpoint".into() }.into(),
        vault::Event::BackupVerified { position: Position(90), root: "ab".repeat(32), state: "cd".repeat(32), files: 5, skipped: 0 }.into(),
        vault::Event::Shredded { secrets: vec![], reason: "a test".into(), things: vec![StreamId([8; 16])], tenants: vec![] }.into(),
        vault::Event::Shredded { secrets: vec![], reason: "a test".into(), things: vec![], tenants: vec![tenant] }.into(),
        tenant::Event::ShredRequested { by: StreamId([3; 16]), wait: 604_800, reason: "it left".into() }.into(),
        tenant::Event::ShredApproved { by: StreamId([4; 16]), due: at(604_800) }.into(),
        tenant::Event::ShredCancelled.into(),
        tenant::Event::Shredded.into(),
        vault::Event::BackupVerified { position: Position(90), root: "ab".repeat(32), state: "cd".repeat(32), files: 7, skipped: 2 }.into(),
    ]
}
