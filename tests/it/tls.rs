//! The TLS listener, and what stands in for it: a proxy in front.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reqwest::blocking::Client;
use reqwest::tls::Certificate;
use serde_json::Value;

use crate::served::{client, spawn, start_with};

/// Writes a fresh self-signed certificate for 127.0.0.1 and its key, and gives the certificate.
fn certificate(folder: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    let key = folder.join("key.pem");
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

fn trusting(certificate: Certificate) -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().tls_certs_only([certificate]).pool_max_idle_per_host(0).build().unwrap()
}

/// The error of a server that does not start.
fn refused(folder: &Path, further: &[&str]) -> String {
    let output = spawn(folder).args(further).output().unwrap();
    assert!(!output.status.success());
    assert!(!folder.join("data").exists(), "nothing is made by a server that does not start");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn tls_is_spoken_and_a_new_certificate_is_served_after_a_hangup() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let server = start_with(folder.path(), "", &["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    assert!(server.base.starts_with("https://127.0.0.1:"));
    let ready = |client: &Client| client.get(format!("{}/v1/me", server.base)).bearer_auth(&server.token).send();
    let trusts_first = trusting(first.clone());
    assert_eq!(ready(&trusts_first).unwrap().status(), 200);
    assert!(client().get(format!("{}/v1/me", server.base)).send().is_err(), "who does not trust the certificate does not speak");
    assert!(client().get(server.base.replace("https", "http")).send().is_err(), "nothing is said in clear");
    // Something that cannot be served changes nothing.
    let hangup = || assert!(Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap().success());
    let whole = fs::read(&cert).unwrap();
    fs::write(&cert, "no certificate").unwrap();
    hangup();
    assert_eq!(ready(&trusts_first).unwrap().status(), 200);
    fs::write(&cert, whole).unwrap();
    let second = trusting(certificate(folder.path()));
    hangup();
    let seen = (0..200).any(|_| {
        std::thread::yield_now();
        ready(&second).is_ok_and(|answer| answer.status() == 200)
    });
    assert!(seen, "the new certificate is served");
    // A client that has spoken before may resume; a new one sees the certificate.
    assert!(ready(&trusting(first)).is_err(), "and the old one no more");
}

#[test]
fn a_certificate_that_cannot_be_served_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let path = |folder: &Path, name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path(folder.path(), "cert.pem"), path(folder.path(), "key.pem"));
    let with = |cert: &str, key: &str| refused(folder.path(), &["--tls-cert", cert, "--tls-key", key]);
    assert!(with(&cert, &path(other.path(), "key.pem")).contains("does not go with the certificate"));
    assert!(with(&key, &key).contains("holds no certificate"));
    assert!(with(&path(other.path(), "missing"), &key).contains("missing"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(with(&cert, &key).contains("chmod"));
    assert!(refused(folder.path(), &["--tls-cert", &cert]).contains("--tls-key"));
}

#[test]
fn in_clear_it_listens_on_loopback_only_unless_a_proxy_is_in_front() {
    let folder = tempfile::tempdir().unwrap();
    let mut everywhere = Command::new(env!("CARGO_BIN_EXE_keyledger"));
    let output = everywhere.env_clear().args(["serve", "--listen", "0.0.0.0:0", "--data"]).arg(folder.path().join("data")).output().unwrap();
    assert!(!output.status.success() && String::from_utf8(output.stderr).unwrap().contains("--behind-proxy"));
    assert!(!folder.path().join("data").exists());
    let address_of = |further: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let server = start_with(folder.path(), "", further);
        let named = server.call("POST", "/v1/organizations").json(&serde_json::json!({"name": "Acme"}));
        named.header("x-forwarded-for", "203.0.113.9, 198.51.100.7").send().unwrap();
        let events: Value = server.call("GET", "/v1/events?kind=organization").send().unwrap().json().unwrap();
        events["data"][0]["meta"]["ip"].as_str().unwrap().to_owned()
    };
    assert_eq!(address_of(&[]), "127.0.0.1", "what a caller says of itself proves nothing");
    assert_eq!(address_of(&["--behind-proxy"]), "198.51.100.7", "the last one is the proxy's word");
}
