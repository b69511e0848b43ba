//! Token exchanges at a service of this machine: intent, one call over a connection of its own, durable result. Beside them the same call without
//! a vault, and the same rows without a call.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use keyledger::credentials::Meta;
use keyledger::egress::{Egress, Request};
use keyledger::kernel::{Secret, StreamId};
use keyledger::oauth::{Exchanges, Landed, Wanted, What};
use keyledger::vault::access::Principal;
use tokio::runtime::Runtime;

use crate::Sizes;
use crate::asking::{CONNECTIONS, counted};
use crate::bare::Bare;
use crate::service::{HOST, Owner, door, tokens};
use crate::table::{compare, real};
use crate::vault::OpenVault;
use crate::witness::{Blocks, Witness};

struct Ours {
    exchanges: Arc<Exchanges>,
    witness: Arc<Witness>,
    principal: Principal,
    connections: Vec<StreamId>,
}

impl Ours {
    async fn new(folder: &Path, service: SocketAddr, connections: usize) -> Self {
        let opened = OpenVault::create(folder).await;
        let owner = Owner { vault: &opened.vault, principal: &opened.owner };
        owner.serves("local", service.port()).await;
        let mut ids = Vec::new();
        for number in 0..connections {
            ids.push(owner.connect("local", &format!("consumer-{number}")).await);
        }
        let exchanges = Arc::new(Exchanges::new(Arc::new(opened.vault), door(), "http://127.0.0.1".to_owned()));
        opened.witness.take();
        Self { exchanges, witness: opened.witness, principal: opened.owner, connections: ids }
    }

    fn wanted(&self, connection: StreamId) -> Wanted {
        let meta = Meta { rule: Some("role:owner".into()), ..Meta::default() };
        Wanted { principal: self.principal.clone(), meta, idempotency: None, connection, what: What::Renew }
    }

    /// Each connection is renewed over and over; gives the pace and what was written.
    async fn renew(&self, round: Duration) -> (f64, Blocks) {
        let started = Instant::now();
        let work = self.connections.iter().map(|connection| {
            let (exchanges, wanted) = (Arc::clone(&self.exchanges), self.wanted(*connection));
            tokio::spawn(async move {
                let mut landed = 0;
                while started.elapsed() < round {
                    assert!(matches!(exchanges.exchange(wanted.clone()).await, Landed::Stored { .. }));
                    landed += 1;
                }
                landed
            })
        });
        let pace = pace(work.collect(), started).await;
        (pace, self.witness.take())
    }
}

async fn pace(work: Vec<tokio::task::JoinHandle<u64>>, started: Instant) -> f64 {
    let mut done = 0;
    for each in work {
        done += each.await.unwrap();
    }
    real(done) / started.elapsed().as_secs_f64()
}

/// The request that an exchange sends.
fn request(service: SocketAddr) -> Request {
    let header = |name: &str, value: &str| (name.to_owned(), Secret::from(value));
    let body = "grant_type=refresh_token&refresh_token=v1r%3Arefresh-token-of-000000000000000000000000000001&client_id=a-client&client_secret=its-secret";
    Request {
        method: Method::POST,
        url: format!("http://{HOST}:{}/token", service.port()),
        headers: vec![header("accept", "application/json"), header("content-type", "application/x-www-form-urlencoded")],
        body: Secret::from(body),
    }
}

/// The same call over and over, from so many callers.
async fn call(egress: &Arc<Egress>, service: SocketAddr, callers: usize, round: Duration) -> f64 {
    let started = Instant::now();
    let work = (0..callers).map(|_| {
        let egress = Arc::clone(egress);
        tokio::spawn(async move {
            let mut answered = 0;
            while started.elapsed() < round {
                assert_eq!(egress.send(request(service)).await.unwrap().status, 200);
                answered += 1;
            }
            answered
        })
    });
    pace(work.collect(), started).await
}

pub fn measure(runtime: &Runtime, folder: &Path, sizes: &Sizes) {
    let service = runtime.block_on(tokens());
    let egress = Arc::new(door());
    for connections in CONNECTIONS {
        let folder = folder.join(format!("exchanges-{connections}"));
        let ours = runtime.block_on(Ours::new(&folder, service, connections));
        let mut rows = Bare::create(&folder.join("bare.db"));
        let (mut renewed, mut called, mut written, mut both) = (vec![], vec![], vec![], vec![]);
        for turn in 0..=sizes.rounds {
            let (pace, blocks) = runtime.block_on(ours.renew(sizes.round));
            let calls = runtime.block_on(call(&egress, service, connections, sizes.round));
            // An intent and a result each.
            let exchanges = real(blocks.iter().map(|block| block.len() as u64).sum()) / 2.0;
            let commits = exchanges / rows.insert(&blocks).as_secs_f64();
            if turn > 0 {
                renewed.push(pace);
                called.push(calls);
                written.push(commits);
                both.push(1.0 / (1.0 / calls + 1.0 / commits));
            }
        }
        let connections = counted(connections);
        compare(&format!("exchanges, {connections}"), &renewed, &called, "the call alone");
        compare(&format!("exchanges, {connections}"), &renewed, &written, "the two commits alone, in the batches that formed");
        compare(&format!("exchanges, {connections}"), &renewed, &both, "both, one after the other");
    }
}
