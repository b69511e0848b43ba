//! Whom the door believes: authorities by file, names and dates of certificates; and that no environment puts a proxy in between.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use keyledger::egress::{Egress, EgressError, Limits, RootsError, StreamLimits, read_roots};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::egress_bench::{Authority, get, opened, serve};
use crate::served::{Server, begin, spawn};

const TOKEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 42\r\n\r\n{\"access_token\":\"a-token\",\"expires_in\":60}";
const LATER: i32 = 2099;
const UNTRUSTED: EgressError = EgressError::Unreachable("no TLS with a certificate that is trusted for the host");

fn believing(roots: &[CertificateDer<'static>]) -> Egress {
    Egress::trusting(opened(&["127.0.0.0/8"]), Limits::default(), roots).unwrap()
}

/// Calls both ways; they must agree.
async fn called(egress: &Egress, url: &str) -> Result<u16, EgressError> {
    let sent = egress.send(get(url)).await.map(|answer| answer.status);
    let streamed = egress.open(get(url), StreamLimits::default()).await.map(|stream| stream.status);
    assert_eq!(sent, streamed);
    sent
}

#[tokio::test]
async fn an_authority_is_believed_when_it_is_given_and_for_its_names_and_dates_only() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let file = folder.path().join("ca.pem");
    fs::write(&file, format!("{}\n# another\n{}", other.certificate.pem(), authority.certificate.pem())).unwrap();
    let egress = believing(&read_roots(&file).unwrap());

    let (good, _) = serve(Some(authority.server(&["127.0.0.1", "localhost"], LATER)), TOKEN).await;
    assert_eq!(called(&egress, &format!("https://{good}/")).await, Ok(200));
    assert_eq!(called(&egress, &format!("https://localhost:{}/", good.port())).await, Ok(200));
    let (unlike, seen) = serve(Some(authority.server(&["127.0.0.2", "example.com"], LATER)), TOKEN).await;
    assert_eq!(called(&egress, &format!("https://{unlike}/")).await, Err(UNTRUSTED), "a wrong name");
    let (old, _) = serve(Some(authority.server(&["127.0.0.1"], 2021)), TOKEN).await;
    assert_eq!(called(&egress, &format!("https://{old}/")).await, Err(UNTRUSTED), "an expired certificate");
    assert_eq!(called(&believing(&[]), &format!("https://{good}/")).await, Err(UNTRUSTED), "an authority that nobody gave");
    assert_eq!(called(&believing(&[other.root()]), &format!("https://{good}/")).await, Err(UNTRUSTED), "another authority");
    assert_eq!(seen.requests(), 0, "nothing is said to whom is not believed");
}

#[test]
fn files_that_hold_no_authority_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let read = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        read_roots(&file).map(|roots| roots.len()).map_err(|error| error.to_string().replace(file.to_str().unwrap(), "FILE"))
    };
    let good = Authority::new().certificate.pem();
    assert_eq!(read(good.as_bytes()), Ok(1));
    let none = Err("FILE holds no PEM certificate".to_owned());
    for empty in ["", "no certificate", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert_eq!(read(empty.as_bytes()), none, "{empty}");
    }
    assert_eq!(read(Authority::new().certificate.der()), none, "not PEM");
    let malformed = |place: usize| Err(format!("FILE: certificate {place} is malformed"));
    assert_eq!(read(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), malformed(1));
    assert_eq!(read(format!("{good}-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n").as_bytes()), malformed(2));
    assert_eq!(read(good.split_at(200).0.as_bytes()), malformed(1), "cut off");
    assert_eq!(read(&vec![b'\n'; (4 << 20) + 1]), Err("FILE is larger than 4194304 bytes".to_owned()));
    fs::remove_file(&file).unwrap();
    assert!(matches!(read_roots(&file), Err(RootsError::Unreadable { .. })));
    assert!(matches!(read_roots(folder.path()), Err(RootsError::Unreadable { .. })));
    let garbage = Egress::trusting(opened(&[]), Limits::default(), &[Authority::new().root(), CertificateDer::from(vec![1, 2, 3])]);
    assert!(matches!(garbage.map(drop), Err(RootsError::Malformed { place: 2 })));
}

#[test]
fn a_server_does_not_start_without_its_authorities() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty.pem"), "").unwrap();
    for (name, told) in [("missing.pem", "missing.pem: No such file"), ("empty.pem", "holds no PEM certificate")] {
        let output = spawn(folder.path()).arg("--egress-ca").arg(folder.path().join(name)).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(told), "{error}");
        assert!(!folder.path().join("data").exists(), "nothing is made by a server that does not start");
    }
}

/// Lets the server exchange at this URL, and gives the status.
fn exchanged(server: &Server, token_url: &str) -> u16 {
    let field = |id: &str, sensitive: bool| json!({"id": id, "label": id, "type": "text", "required": true, "sensitive": sensitive});
    let oauth = json!({"grant": "client_credentials", "token_url": token_url, "client_auth": "body", "encoding": "form", "scopes": []});
    let connector = json!({
        "name": "Local", "website": "https://example.com", "docs": "https://example.com/docs", "status": "live", "auth_type": "oauth2", "oauth": oauth,
        "form_fields": [field("client_id", false), field("client_secret", true)], "validation": false,
        "settings_required_for_authorization": ["client_id", "client_secret"],
    });
    let put = server.call("PUT", "/v1/connectors/crm/local").json(&connector);
    assert_eq!(put.send().unwrap().status(), 200);
    server.ok("PATCH", "/vault/connections/crm/local", Some(json!({"settings": {"client_id": "a", "client_secret": "b"}})));
    server.call("POST", "/vault/connections/crm/local/token").send().unwrap().status().as_u16()
}

fn started(folder: &Path, further: &[&str], environment: &[(&str, &str)]) -> Server {
    let mut command = spawn(folder);
    command.args(["--allow-egress", "127.0.0.1/32"]).args(further).envs(environment.iter().copied());
    begin(&mut command, "")
}

#[test]
fn a_server_believes_the_authorities_of_its_files() {
    let (runtime, authority, folder) = (Runtime::new().unwrap(), Authority::new(), tempfile::tempdir().unwrap());
    let (address, seen): (SocketAddr, _) = runtime.block_on(serve(Some(authority.server(&["127.0.0.1"], LATER)), TOKEN));
    let (ours, other) = (folder.path().join("ours.pem"), folder.path().join("other.pem"));
    fs::write(&ours, authority.certificate.pem()).unwrap();
    fs::write(&other, Authority::new().certificate.pem()).unwrap();
    let (ours, other) = (ours.to_str().unwrap(), other.to_str().unwrap());
    let url = format!("https://{address}/token");
    let status = |further: &[&str], environment: &[(&str, &str)]| {
        let data = tempfile::tempdir().unwrap();
        exchanged(&started(data.path(), further, environment), &url)
    };
    assert_eq!((status(&[], &[]), seen.requests()), (422, 0), "nobody gave it");
    assert_eq!((status(&["--egress-ca", other], &[("SSL_CERT_FILE", ours)]), seen.requests()), (422, 0), "another one");
    assert_eq!((status(&["--egress-ca", other, "--egress-ca", ours], &[]), seen.requests()), (200, 1));
    assert_eq!((status(&[], &[("KEYLEDGER_EGRESS_CA", &format!("{other},{ours}"))]), seen.requests()), (200, 2));
}

#[test]
fn no_proxy_is_taken_from_the_environment() {
    let (runtime, authority, folder) = (Runtime::new().unwrap(), Authority::new(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority.certificate.pem()).unwrap();
    let (plain, plainly) = runtime.block_on(serve(None, TOKEN));
    let (secure, securely) = runtime.block_on(serve(Some(authority.server(&["127.0.0.1"], LATER)), TOKEN));
    let (proxy, proxied) = runtime.block_on(serve(None, TOKEN));
    let proxy = format!("http://{proxy}");
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let environment = names.map(|name| (name, proxy.as_str()));
    let server = started(folder.path(), &["--egress-ca", file.to_str().unwrap()], &environment);
    assert_eq!(exchanged(&server, &format!("http://{plain}/token")), 200);
    assert_eq!(exchanged(&server, &format!("https://{secure}/token")), 200);
    assert_eq!((plainly.requests(), securely.requests(), proxied.connections()), (1, 1, 0));
}
