//! The connectors that ship: one JSON file per unified API, from the vendors' public documentation.

use super::Connector;

const FILES: &[&str] = &[
    include_str!("catalog/accounting.json"),
    include_str!("catalog/ats.json"),
    include_str!("catalog/crm.json"),
    include_str!("catalog/ecommerce.json"),
    include_str!("catalog/email-marketing.json"),
    include_str!("catalog/expense-management.json"),
    include_str!("catalog/file-storage.json"),
    include_str!("catalog/hris.json"),
    include_str!("catalog/issue-tracking.json"),
    include_str!("catalog/lead.json"),
    include_str!("catalog/pos.json"),
    include_str!("catalog/project-management.json"),
    include_str!("catalog/sms.json"),
    include_str!("catalog/team-messaging.json"),
    include_str!("catalog/transactional-email.json"),
];

/// All shipped connectors.
pub fn shipped() -> Result<Vec<Connector>, serde_json::Error> {
    let files: Result<Vec<Vec<Connector>>, _> = FILES.iter().map(|text| serde_json::from_str(text)).collect();
    files.map(|lists| lists.into_iter().flatten().collect())
}
