//! Messages of one webhook to a receiver on this machine, each with its signature, beside the same calls without a vault.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hyper::Method;
use keyledger::credentials::connection::{Changes, Key};
use keyledger::credentials::webhook::Profile;
use keyledger::egress::{Egress, Request};
use keyledger::jobs::Webhooks;
use keyledger::kernel::{OsRandom, Secret, StreamId};
use keyledger::vault::plans;
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::service::{HOST, Owner, body, door};
use crate::table::{compare, real};
use crate::vault::{OpenVault, TENANT};

/// About the size of a message.
const MESSAGE: usize = 1024;

async fn call(egress: &Egress, url: &str) {
    let headers = vec![("content-type".to_owned(), Secret::from("application/json"))];
    let request = Request { method: Method::POST, url: url.to_owned(), headers, body: Secret::new(vec![b'x'; MESSAGE]) };
    assert_eq!(egress.send(request).await.unwrap().status, 200);
}

pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    runtime.block_on(async {
        let url = format!("http://{HOST}:{}/hook", body(2).await.port());
        let opened = OpenVault::create(&folder.join("deliveries")).await;
        let profile = || Profile { url: url.clone(), events: vec!["*".into()], description: None, enabled: true };
        let vault = Arc::new(opened.vault);
        let owner = Owner { vault: &vault, principal: &opened.owner };
        let mut id = StreamId::default();
        owner
            .execute(|given| {
                let plan = plans::create_webhook(given, &opened.owner, profile())?.0;
                id = plan.writes[0].stream;
                Ok(plan)
            })
            .await;
        let webhooks = Webhooks::new(Arc::clone(&vault), door(), Arc::new(OsRandom), Box::new(|_| false));
        let mut line = webhooks.line(id).unwrap();
        let key = Key { app: "app".into(), consumer: "acme".into(), unified_api: "crm".into(), service_id: "pipedrive".into() };
        let (egress, mut enabled) = (door(), false);
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for turn in 0..=sizes.rounds {
            // Each change of this is told in one message.
            for _ in 0..sizes.messages {
                owner.execute(|given| plans::update(given, TENANT, &key, Changes { enabled: Some(enabled), ..Changes::default() })).await;
                enabled = !enabled;
            }
            let started = Instant::now();
            while line.progress().through < vault.views().connections_last(TENANT) {
                webhooks.deliver_due(&mut line).await;
            }
            let delivered = started.elapsed();
            let started = Instant::now();
            for _ in 0..sizes.messages {
                call(&egress, &url).await;
            }
            if turn > 0 {
                ours.push(real(sizes.messages) / delivered.as_secs_f64());
                bare.push(real(sizes.messages) / started.elapsed().as_secs_f64());
            }
        }
        compare("messages of one webhook, in order", &ours, &bare, "the call alone");
    });
}
