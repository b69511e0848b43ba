//! Settings of a service: given in clear where the service does not call them sensitive, otherwise asked for or read from stdin.

use anyhow::{bail, ensure};
use serde_json::Value;

use super::client::{Call, Client};
use super::{Member, ask};

/// Settings to give (`ID=VALUE`, or `ID` alone for a value to ask for) and to take away. The value of a secret is not taken from the command line,
/// which every process of the machine can see.
pub(super) async fn settings(client: &Client, service: &str, given: &[&str], removed: &[&str]) -> anyhow::Result<Vec<(String, Member)>> {
    let sensitive = if given.iter().any(|setting| setting.contains('=')) { sensitive(client, service).await? } else { Vec::new() };
    let mut settings = Vec::new();
    for setting in given {
        let (id, value) = match setting.split_once('=') {
            Some((id, _)) if sensitive.iter().any(|known| known == id) => {
                bail!("{id} is a secret\nnext: give --setting {id} without its value, which is then asked for, or is a line of stdin")
            }
            Some((id, value)) => (id, Member::Plain(value.into())),
            None => (*setting, Member::Secret(ask::ask(setting)?)),
        };
        ensure!(!removed.contains(&id), "--setting {id} and --unset {id} say different things");
        ensure!(settings.iter().all(|(known, _)| known != id), "--setting {id} is given twice");
        settings.push((id.to_owned(), value));
    }
    settings.extend(removed.iter().map(|id| ((*id).to_owned(), Member::Plain(Value::Null))));
    Ok(settings)
}

/// What the service calls sensitive.
async fn sensitive(client: &Client, service: &str) -> anyhow::Result<Vec<String>> {
    let path = std::iter::once("connectors").chain(service.splitn(2, '+')).collect();
    let answer = client.send(&Call { method: "GET", path, repeatable: true, ..Call::default() }).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let fields = answer.pointer("/connector/form_fields").and_then(Value::as_array).into_iter().flatten();
    let sensitive = fields.filter(|field| field.get("sensitive") != Some(&Value::Bool(false)));
    Ok(sensitive.filter_map(|field| field.get("id")?.as_str().map(str::to_owned)).collect())
}
