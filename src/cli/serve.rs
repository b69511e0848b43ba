//! `keyledger serve`

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use url::Url;

use super::DataArgs;
use crate::egress::{Egress, Limits as EgressLimits, Policy, StreamLimits, read_roots};
use crate::jobs::{ANCHOR_LIMITS, AnchorFile, Checkpoints, Jobs, Post, Refresher, WEBHOOK_LIMITS, Webhooks, post_newest};
use crate::oauth::Exchanges;
use crate::server::{Begun, Listening, Tls, router, serve};
use crate::surfaces::{ACCESS_TOKEN_SECONDS, Front, Settings};
use crate::vault::Vault;
use crate::views::Views;

/// How long the end waits for exchanges whose result the log does not take.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    data: DataArgs,
    /// Where to listen; port 0 takes a free one, and the real address is printed.
    #[arg(long, env = "KEYLEDGER_LISTEN", default_value = "127.0.0.1:8200", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Addresses that token exchanges and webhooks may call although they are not public, over http and on any port: a CIDR range, repeatable.
    #[arg(long, env = "KEYLEDGER_ALLOW_EGRESS", value_name = "CIDR", value_delimiter = ',')]
    allow_egress: Vec<IpNet>,
    /// Believe certificates below these authorities as well, besides those of the web: a file of PEM certificates, repeatable.
    #[arg(long, env = "KEYLEDGER_EGRESS_CA", value_name = "FILE", value_delimiter = ',')]
    egress_ca: Vec<PathBuf>,
    /// How long an access token lives, in seconds, where its vendor does not say: 120 to 86,400.
    #[arg(long, env = "KEYLEDGER_ACCESS_TOKEN_SECONDS", default_value_t = ACCESS_TOKEN_SECONDS, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(120..=86_400))]
    access_token_seconds: i64,
    /// Speak TLS with this certificate chain, in PEM. Needed on addresses that are not loopback, unless a proxy is in front. SIGHUP reads it anew.
    #[arg(long, env = "KEYLEDGER_TLS_CERT", value_name = "FILE", requires = "tls_key", conflicts_with = "behind_proxy")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM, readable by its owner only.
    #[arg(long, env = "KEYLEDGER_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A proxy in front speaks TLS: serve plain HTTP on any address, and take the last address of X-Forwarded-For as the caller's. Nobody else
    /// may be able to reach this address.
    #[arg(long, env = "KEYLEDGER_BEHIND_PROXY")]
    behind_proxy: bool,
    /// Where browsers reach this server, such as `https://vault.example.com`: services send users back to it. By default the address listened on.
    #[arg(long, env = "KEYLEDGER_PUBLIC_URL", value_name = "URL", value_parser = origin)]
    public_url: Option<String>,
    /// The origin of a page of yours, such as `https://app.example.com`: it may call from a browser (CORS), and users may be sent back to it.
    /// Repeatable. Pages on this machine (localhost) need no leave.
    #[arg(long, env = "KEYLEDGER_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    allow_origin: Vec<String>,
    /// Append a signed checkpoint of the log to this file, each second while the log grows, and compare the log with it at the start. Outside the
    /// data directory, best on another machine: whoever changes the log cannot change what was said of it.
    #[arg(long, env = "KEYLEDGER_ANCHOR_FILE", value_name = "FILE")]
    anchor_file: Option<PathBuf>,
    /// Send signed checkpoints of the log to this URL, as the body of a POST, each second while the log grows.
    #[arg(long, env = "KEYLEDGER_ANCHOR_URL", value_name = "URL")]
    anchor_url: Option<String>,
    #[command(flatten)]
    backups: super::backups::BackupArgs,
}

/// Scheme, host and port, without a slash at the end.
fn origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !["http", "https"].contains(&url.scheme()) || !bare {
        return Err("takes scheme, host and port only, such as https://app.example.com".into());
    }
    Ok(url.origin().ascii_serialization())
}

impl Serve {
    pub async fn run(self) -> anyhow::Result<()> {
        let filter = tracing_subscriber::EnvFilter::try_from_env("KEYLEDGER_LOG").unwrap_or_else(|_| "info".into());
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
        let listening = self.listening()?;
        let (egress, webhook_egress) = (self.egress(EgressLimits::default())?, self.egress(WEBHOOK_LIMITS)?);
        let scheme = if listening.tls.is_some() { "https" } else { "http" };
        let anchors = self.anchor_file.as_deref().map(|file| AnchorFile::open(file, &self.data.data)).transpose()?;
        let post = self.anchor_url.clone().map(|url| anyhow::Ok(Post::new(self.egress(ANCHOR_LIMITS)?, url)?)).transpose().context("--anchor-url")?;
        let home = Arc::new(self.data.home().anchored(anchors.clone()));
        let bind = async || TcpListener::bind(self.listen).await.with_context(|| format!("cannot listen on {}", self.listen));
        let ((vault, _lock), listener) = if home.exists() {
            // First the vault: that another process serves it says more than that the address is taken.
            (home.start().await?, bind().await?)
        } else {
            // First the address: the owner's token is shown once, and nothing may come between the making and the showing.
            let listener = bind().await?;
            welcome(&home.init().await?, &format!("{scheme}://{}", listener.local_addr()?));
            (home.start().await?, listener)
        };
        let address = listener.local_addr()?;
        let vault = Arc::new(vault);
        let public_url = self.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), egress, public_url));
        let held = Box::new(|views: &Views| views.is_held());
        let webhooks = Arc::new(Webhooks::new(Arc::clone(&vault), webhook_egress, super::random(), held));
        sweep(&exchanges).await;
        let recovering = Arc::clone(&vault);
        tokio::spawn(async move { go_on(&recovering).await });
        println!("listening on {scheme}://{address}");
        tracing::info!(%address, position = vault.views().position().0, "serving");
        let stopped = told_to_stop()?;
        let (settle, settled) = watch::channel(false);
        let jobs = tokio::spawn(Jobs::new(Arc::clone(&vault), super::random(), home.snapshot()).run(settled));
        let checkpoints = Checkpoints::new(Arc::clone(&vault), super::clock(), Checkpoints::path(home.folder())).anchored(anchors);
        let outgoing = checkpoints.outgoing();
        let checkpoints = tokio::spawn(checkpoints.run(settle.subscribe()));
        if let Some(to) = post {
            tokio::spawn(post_newest(Arc::clone(&vault), to, outgoing, stopped.clone()));
        }
        let root_key = Box::new(home.key_file(vault.keyring().vault())?);
        let settings = Arc::new(Settings {
            access_token_seconds: self.access_token_seconds,
            origins: self.allow_origin,
            stream_limits: StreamLimits::default(),
            root_key,
        });
        let (rotating, root) = (Arc::clone(&vault), Arc::clone(&settings) as crate::vault::Root);
        tokio::spawn(async move { rotating.resume_rotations(&root).await });
        let backups = self.backups.schedule(&home, &vault)?.map(|backups| tokio::spawn(backups.run(stopped.clone())));
        let refresher = tokio::spawn(Refresher::new(Arc::clone(&vault), Arc::clone(&exchanges)).run(stopped.clone()));
        let delivery = tokio::spawn(Arc::clone(&webhooks).run(stopped.clone()));
        serve(listener, router(&Front { vault: Arc::clone(&vault), exchanges: Arc::clone(&exchanges), webhooks, settings }), listening, stopped).await;
        // In this order: nothing new begins, a result that still comes is recorded, and the last snapshot holds it.
        refresher.await?;
        delivery.await?;
        if let Some(backups) = backups {
            backups.await?;
        }
        tracing::info!("ending: requests under way are answered, exchanges under way are recorded");
        if tokio::time::timeout(SETTLE, exchanges.settle()).await.is_err() {
            tracing::warn!("an exchange could not be recorded; the next start says that its outcome is unknown");
        }
        settle.send_replace(true);
        jobs.await?;
        checkpoints.await?;
        vault.shutdown().await;
        Ok(())
    }
}

/// Exchanges that an earlier run did not end.
async fn sweep(exchanges: &Exchanges) {
    match exchanges.sweep().await {
        Ok(0) => {}
        Ok(lost) => tracing::warn!(lost, "exchanges that an earlier run did not end are recorded as lost"),
        // Each is recorded before the next exchange of its connection.
        Err(error) => tracing::warn!(%error, "exchanges that an earlier run did not end could not be recorded as lost"),
    }
}

/// Recoveries that an earlier run did not end.
async fn go_on(vault: &Vault) {
    for (id, state) in vault.unfinished() {
        match vault.go_on((id, state)).await {
            Ok(done) => tracing::info!(%id, reverted = done.reverted, left = done.left.len(), "a recovery that was cut off has ended"),
            Err(error) => tracing::warn!(%id, %error, "a recovery that was cut off could not go on; the next start tries again"),
        }
    }
}

impl Serve {
    /// The door to the outside.
    fn egress(&self, limits: EgressLimits) -> anyhow::Result<Egress> {
        let mut roots = Vec::new();
        for file in &self.egress_ca {
            roots.extend(read_roots(file)?);
        }
        Ok(Egress::trusting(Policy { allowed: self.allow_egress.clone() }, limits, &roots)?)
    }

    /// How connections come in: in clear only where nobody else listens.
    fn listening(&self) -> anyhow::Result<Listening> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate.clone(), key.clone())?)),
            _ => None,
        };
        let apart = self.listen.ip().is_loopback() || tls.is_some() || self.behind_proxy;
        anyhow::ensure!(apart, "{} is not a loopback address: give --tls-cert and --tls-key, or --behind-proxy where a proxy speaks TLS", self.listen);
        if let Some(tls) = tls.clone() {
            let mut hangup = signal(SignalKind::hangup())?;
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    match tls.reload() {
                        Ok(()) => tracing::info!("the TLS certificate was read anew"),
                        Err(error) => tracing::error!(%error, "the TLS certificate could not be read anew; the earlier one is served on"),
                    }
                }
            });
        }
        Ok(Listening { tls, behind_proxy: self.behind_proxy })
    }
}

/// Becomes true when the process is told to stop.
fn told_to_stop() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_replace(true);
    });
    Ok(stopped)
}

/// Shown once, when the vault begins.
fn welcome(begun: &Begun, base: &str) {
    let token = String::from_utf8_lossy(begun.owner_token.expose());
    let headers = "-H \"Authorization: Bearer $TOKEN\" -H 'x-apideck-app-id: demo' -H 'x-apideck-consumer-id: acme'";
    println!("A new vault, {}.\n", begun.vault);
    println!("Root key file   {}", begun.root_key_file.display());
    println!("Owner's token   {token}\n");
    println!("Both are needed later, and the token is shown this once. To try:\n");
    println!("  TOKEN={token}");
    println!("  curl {base}/vault/connections/crm/pipedrive/import {headers} -d '{{\"credentials\":{{\"access_token\":\"an-access-token\"}}}}'");
    println!("  curl '{base}/vault/connections?configured=true' {headers}");
    println!("  curl -X DELETE {base}/vault/connections/crm/pipedrive {headers}\n");
}
