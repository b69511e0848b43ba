//! What the verbs that ask a server say when something is wrong, and what they do about it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::cli_remote::{PASSWORD, Person, feed, owner};
use crate::served::{start, start_with};

impl Person {
    /// What a failure says; nothing is printed beside it, and nothing that was given is repeated.
    fn failure(&mut self, code: i32, arguments: &[&str], stdin: &str) -> String {
        let output = self.run(arguments, stdin);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && !said.contains("canary") && !said.contains(&self.token), "{said}");
        said
    }
}

#[test]
fn errors_say_what_is_wrong_and_what_to_do_next() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let mut me = owner(&server);
    me.json(&["user", "create", "ann", "--role", "reader", "--with-password"], PASSWORD);
    let short = me.failure(1, &["user", "password", "ann"], "short\n");
    assert!(short.contains("at #/password"), "{short}");
    let pointed = me.failure(1, &["user", "create", "bob", "--role", "reader", "--role", "nobody"], "");
    assert!(pointed.contains("is no role of this tenant") && pointed.contains("at #/roles/1") && pointed.contains("keyledger role list"), "{pointed}");
    assert!(me.failure(1, &["role", "create", "x", "--permission", "nonsense"], "").contains("keyledger role get owner"));
    assert!(me.failure(1, &["user", "create", "ann"], "").starts_with("error: "));
    let changed = me.failure(1, &["user", "update", "ann", "--name", "Ann", "--if-match", "99"], "");
    assert!(changed.contains("keyledger user get 'ann'") && changed.contains("--if-match"), "{changed}");
    assert!(me.failure(1, &["user", "update", "ann", "--email", "a@example.com", "--clear", "email"], "").contains("--clear email"));
    assert!(me.failure(1, &["user", "get", "nobody"], "").contains("keyledger user list"));
    assert!(me.failure(1, &["key", "get", &"0".repeat(32)], "").contains("keyledger key list"));
    for nothing in [".", "..", ""] {
        assert!(me.failure(1, &["role", "delete", nothing], "").contains("name nothing"));
    }
    assert!(me.failure(1, &["logout"], "").contains("no session"));
    assert!(me.failure(1, &["key", "verify"], "").contains("line of stdin"));

    let first = me.json(&["key", "create", "same"], "")["api_key"]["id"].as_str().unwrap().to_owned();
    me.json(&["key", "create", "same"], "");
    assert!(me.failure(1, &["key", "get", "same"], "").contains(&first), "a name of two things is refused, and both ids are shown");
    me.json(&["key", "get", &first], "");

    let mut ann = Person { token: me.log_in("ann", PASSWORD), ..owner(&server) };
    assert!(ann.failure(1, &["user", "create", "eve"], "").contains("keyledger whoami"));
    ann.token = "klses_wrong".into();
    assert!(ann.failure(1, &["whoami"], "").contains("keyledger login"));
    ann.token = String::new();
    let without = ann.run(&["whoami"], "");
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8(without.stderr).unwrap().contains("KEYLEDGER_TOKEN"));
    for wrong in ["a wrong password 1", "a wrong password 2", "a wrong password 3", "a wrong password 4"] {
        me.failure(1, &["login", "ann"], wrong);
    }
    let locked = me.failure(1, &["login", "ann"], PASSWORD);
    assert!(locked.contains("seconds") && locked.contains("keyledger user unlock 'ann'"), "{locked}");
}

#[test]
fn wrong_calls_end_with_two_and_reach_no_server() {
    let mut nobody = Person { server: "http://127.0.0.1:1".into(), token: "klkey_x".into(), ..Person::default() };
    for wrong in [
        &["user"][..],
        &["user", "fly"],
        &["user", "get"],
        &["user", "update", "ann"],
        &["user", "update", "ann", "--clear", "login"],
        &["user", "get", "ann", "--as-of", "yesterday"],
        &["user", "list", "--limit", "0"],
        &["user", "list", "--output", "xml"],
        &["user", "delete", "ann", "--if-match", "x"],
        &["key", "create", "k", "--expires-at", "tomorrow"],
        &["credential", "list", "--kind", "thing"],
        &["role", "create", "r"],
        &["whoami", "--token", "canary"],
        &["login", "ann", "--server", "http://vault.example.com"],
        &["login", "ann", "--server", "ftp://127.0.0.1"],
        &["login", "ann", "--server", "https://127.0.0.1/?a=b"],
        &["completions", "cmd"],
    ] {
        assert_eq!(nobody.run(wrong, "").status.code(), Some(2), "{wrong:?}");
    }
    let refused = nobody.failure(1, &["whoami"], "");
    assert!(refused.contains("cannot connect to http://127.0.0.1:1") && refused.contains("keyledger serve"), "{refused}");
}

#[test]
fn a_token_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let mut me = owner(&server);
    let file = folder.path().join("token");
    let path = file.to_str().unwrap();
    fs::write(&file, format!("{}\n", server.token)).unwrap();
    me.token = "klkey_wrong".into();
    let set_mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o644, 0o640, 0o604] {
        set_mode(mode);
        assert!(me.failure(1, &["whoami", "--token-file", path], "").contains(&format!("chmod 600 {path}")));
    }
    set_mode(0o600);
    assert_eq!(me.json(&["whoami", "--token-file", path], "")["kind"], "api_key", "it goes before the environment");
    assert_eq!(me.json(&["user", "--token-file", path, "get", "me"], "")["login"], "owner", "before the verb as well");
    fs::write(&file, "x".repeat(5000)).unwrap();
    assert!(me.failure(1, &["whoami", "--token-file", path], "").contains("longer"));
    assert!(me.failure(1, &["whoami", "--token-file", "/nowhere/token"], "").contains("/nowhere/token"));
}

/// Stands between a client and a server: of the first `broken` requests the server's answer is lost. Gives its address, and the requests.
fn between(server: &str, broken: usize, requests: usize) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").unwrap(), server.trim_start_matches("http://").to_owned());
    let address = format!("http://{}", listener.local_addr().unwrap());
    let relay = move |place: usize| {
        let (mut near, mut far) = (listener.accept().unwrap().0, TcpStream::connect(&server).unwrap());
        let request = message(&mut near);
        far.write_all(&request).unwrap();
        // With its answer the server has carried it out.
        let answer = message(&mut far);
        if place >= broken {
            near.write_all(&answer).unwrap();
        }
        String::from_utf8(request).unwrap()
    };
    (address, std::thread::spawn(move || (0..requests).map(relay).collect()))
}

/// A whole request or answer.
fn message(from: &mut TcpStream) -> Vec<u8> {
    let (mut message, mut length) = (vec![0; 64 * 1024], 0);
    loop {
        let read = from.read(&mut message[length..]).unwrap();
        assert!(read > 0, "it ends early");
        length += read;
        let text = String::from_utf8_lossy(&message[..length]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(|length| length.parse::<usize>().unwrap()));
        if body.len() >= announced.unwrap_or(0) {
            message.truncate(length);
            return message;
        }
    }
}

#[test]
fn what_is_carried_out_once_is_sent_once_more_when_the_connection_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let mut me = owner(&server);
    let (address, relay) = between(&server.base, 1, 2);
    me.server = address;
    let made = me.json(&["key", "create", "reporting"], "");
    let requests = relay.join().unwrap();
    let key = |request: &String| request.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned)).unwrap();
    assert_eq!(key(&requests[0]), key(&requests[1]));
    me.server.clone_from(&server.base);
    assert_eq!(me.json(&["key", "list"], "").as_array().unwrap().len(), 2, "one was made, beside the owner's first");
    assert_eq!(me.json(&["key", "verify"], made["token"].as_str().unwrap())["valid"], true, "and its token is the one that was shown");
    // A login would begin a second session, so it is not sent again.
    me.json(&["user", "create", "ann", "--with-password"], PASSWORD);
    let (address, relay) = between(&server.base, 1, 1);
    me.server = address;
    assert!(me.failure(1, &["login", "ann"], PASSWORD).contains("look whether it was carried out"));
    assert_eq!(relay.join().unwrap().len(), 1);
    // The same key is never used for two commands.
    let (address, relay) = between(&server.base, 0, 1);
    me.server = address;
    me.json(&["org", "create", "Acme"], "");
    assert_ne!(key(&relay.join().unwrap()[0]), key(&requests[0]));
}

#[test]
fn a_redirect_is_not_followed_and_a_stranger_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut me = Person { server: format!("http://{}", listener.local_addr().unwrap()), token: "klkey_x".into(), ..Person::default() };
    for answer in ["HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"] {
        let listener = listener.try_clone().unwrap();
        let stranger = std::thread::spawn(move || {
            let mut near = listener.accept().unwrap().0;
            let length = near.read(&mut [0; 8192]).unwrap();
            near.write_all(answer.as_bytes()).unwrap();
            length
        });
        assert!(me.failure(1, &["whoami"], "").contains("is --server right?"));
        assert!(stranger.join().unwrap() > 0);
    }
}

#[test]
fn over_tls_only_a_certificate_that_is_trusted_gets_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let server = start_with(folder.path(), "", &["--tls-cert", &cert, "--tls-key", &key]);
    let mut me = owner(&server);
    assert!(me.server.starts_with("https://"));
    assert_eq!(me.json(&["user", "get", "me", "--ca", &cert], "")["login"], "owner");
    let strange = me.failure(1, &["whoami"], "");
    assert!(strange.contains("--ca FILE"), "{strange}");
    assert!(me.failure(1, &["whoami", "--ca", &key], "").contains("no certificate"));
    assert!(me.failure(1, &["whoami", "--ca", "/nowhere/ca.pem"], "").contains("/nowhere/ca.pem"));
    let by_environment = feed(me.command().env("KEYLEDGER_CA", &cert).args(["whoami", "--output", "json"]), "");
    assert_eq!(serde_json::from_slice::<Value>(&by_environment.stdout).unwrap()["rules"], json!(["role:owner"]));
}
