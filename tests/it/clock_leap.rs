//! A clock that lies, over HTTP: nothing is written by it until an operator says that the time is right.

use std::sync::Arc;

use keyledger::egress::{Egress, Limits, Policy};
use keyledger::oauth::Exchanges;
use keyledger::server::{Listening, router, serve};
use keyledger::surfaces::Front;
use serde_json::{Value, json};

use crate::vault_bench::{VaultBench, operator};

#[tokio::test(flavor = "multi_thread")]
async fn a_leap_ahead_refuses_writes_until_the_time_is_confirmed_and_a_leap_back_stops_nothing() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let VaultBench { vault, clock, token, folder, .. } = VaultBench::new().await;
    let vault = Arc::new(vault);
    let exchanges = Arc::new(Exchanges::new(Arc::clone(&vault), Egress::new(Policy::default(), Limits::default()), "http://127.0.0.1".to_owned()));
    let webhooks = crate::vault_bench::webhooks(&vault, &[]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let served =
        tokio::spawn(serve(listener, router(&Front { vault: Arc::clone(&vault), exchanges, webhooks, settings: operator() }), Listening::default(), stopped));
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let send = async |method: &str, path: &str, body: Value| {
        let request = client.request(method.parse().unwrap(), format!("{base}{path}")).bearer_auth(&token);
        let answer = request.header("x-apideck-app-id", "a").header("x-apideck-consumer-id", "c").json(&body).send().await.unwrap();
        let (status, retry) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        (status, retry, answer.json::<Value>().await.unwrap_or_default())
    };
    let import = async || send("POST", "/vault/connections/crm/pipedrive/import", json!({"credentials": {"access_token": "t"}})).await;
    assert_eq!(import().await.0, 200);
    let before = vault.views().position();
    clock.leap(3 * 3_600_000);
    let (status, retry, body) = import().await;
    assert_eq!((status, retry, &body["type_name"]), (503, true, &json!("ServiceUnavailableError")));
    assert_eq!(vault.views().position(), before, "nothing was written");
    let (status, _, body) = send("PUT", "/v1/connectors/crm/pipedrive", json!({})).await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(send("GET", "/v1/health/ready", Value::Null).await.0, 503);
    assert_eq!(send("POST", "/v1/log/clock", Value::Null).await.0, 204);
    assert_eq!(import().await.0, 200);
    assert_eq!(send("GET", "/v1/health/ready", Value::Null).await.0, 200);
    // Back by a year: the log's own time stands still until the clock has caught up.
    let recorded = vault.views().recorded_at();
    clock.leap(-365 * 24 * 3_600_000);
    assert_eq!(import().await.0, 200);
    assert_eq!(vault.views().recorded_at(), recorded);
    stop.send(true).unwrap();
    drop(client);
    served.await.unwrap();
    drop(folder);
}
