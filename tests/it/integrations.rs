//! Integrations over HTTP: one OAuth client for all connections to a service, at a token endpoint of the test's own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::members::{As, owner};
use crate::served::{Server, error, start_with};

const LOCAL: &str = "/vault/connections/crm/local";
const OURS: &str = "/v1/integrations/crm/local";
const MASK: &str = "••••••••••••";

/// A token endpoint that gives tokens to everybody, and tells the bodies that it was sent.
fn endpoint() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, (sender, bodies)) = (listener.local_addr().unwrap().port(), channel());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
            let body = loop {
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "a request is whole");
                request.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8(request.clone()).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                if body.len() == length.unwrap_or_default() {
                    break body.to_owned();
                }
            };
            let answer = json!({"access_token": "a-token", "expires_in": 3600}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all((head + &answer).as_bytes()).unwrap();
            if sender.send(body).is_err() {
                return;
            }
        }
    });
    (port, bodies)
}

fn field(id: &str, sensitive: bool) -> Value {
    json!({"id": id, "label": id, "type": "text", "required": true, "sensitive": sensitive})
}

/// A service of the tenant's own, whose tokens come from this place.
fn service(caller: &As<'_>, token_url: &str, further: &[Value]) {
    let oauth = json!({"grant": "client_credentials", "token_url": token_url, "client_auth": "body", "encoding": "form", "scopes": []});
    let placeholders = further.iter().map(|field| field["id"].as_str().unwrap()).filter(|id| token_url.contains(&format!("{{{id}}}")));
    let needed: Vec<&str> = ["client_id", "client_secret"].into_iter().chain(placeholders).collect();
    let fields = [&[field("client_id", false), field("client_secret", true)], further].concat();
    let connector = json!({
        "name": "Local", "website": "https://example.com", "docs": "https://example.com/docs", "status": "live", "auth_type": "oauth2", "oauth": oauth,
        "form_fields": fields, "validation": false,
        "settings_required_for_authorization": needed,
    });
    caller.ok("PUT", "/v1/connectors/crm/local", &connector);
}

struct Local {
    server: Server,
    sent: Receiver<String>,
    port: u16,
    _folder: tempfile::TempDir,
}

fn local() -> Local {
    let (folder, (port, sent)) = (tempfile::tempdir().unwrap(), endpoint());
    let server = start_with(folder.path(), "", &["--allow-egress", "127.0.0.0/8"]);
    service(&owner(&server), &format!("http://127.0.0.1:{port}/token"), &[]);
    Local { server, sent, port, _folder: folder }
}

impl Local {
    /// What a consumer's exchange sent as its client: id and secret.
    fn exchanged(&self, consumer: &str) -> (String, String) {
        let answer = self.ask("POST", &format!("{LOCAL}/token"), consumer, &Value::Null);
        assert_eq!(answer.status(), 200, "{consumer}: {}", answer.text().unwrap());
        let body = self.sent.recv().unwrap();
        let of = |name: &str| url::form_urlencoded::parse(body.as_bytes()).find(|(known, _)| known == name).unwrap().1.into_owned();
        (of("client_id"), of("client_secret"))
    }

    fn ask(&self, method: &str, path: &str, consumer: &str, body: &Value) -> reqwest::blocking::Response {
        let request = crate::served::client().request(method.parse().unwrap(), format!("{}{path}", self.server.base));
        let request = request.bearer_auth(&self.server.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", consumer);
        if body.is_null() { request.send().unwrap() } else { request.json(body).send().unwrap() }
    }

    fn shown(&self, consumer: &str) -> Value {
        self.ask("GET", LOCAL, consumer, &Value::Null).json::<Value>().unwrap()["data"].clone()
    }
}

fn pair(id: &str, secret: &str) -> (String, String) {
    (id.to_owned(), secret.to_owned())
}

fn client(id: &str, secret: &str) -> Value {
    json!({"settings": {"client_id": id, "client_secret": secret}})
}

#[test]
fn all_connections_exchange_as_the_tenants_client_unless_they_have_one_of_their_own() {
    let local = local();
    let me = owner(&local.server);
    for consumer in ["ann", "bob"] {
        assert_eq!(local.ask("PATCH", LOCAL, consumer, &json!({"enabled": true})).status(), 200);
    }
    let refused = local.ask("POST", &format!("{LOCAL}/token"), "ann", &Value::Null);
    assert!(refused.text().unwrap().contains("requires client_id, client_secret to be set before authorizing"));
    let made = me.send("PUT", OURS, &client("ours", "our secret & more"));
    assert_eq!((made.status().as_u16(), made.headers()["etag"].to_str().unwrap().to_owned()), (200, "\"1\"".to_owned()));
    let shown: Value = made.json().unwrap();
    assert_eq!((&shown["settings"], &shown["state"], &shown["name"]), (&client("ours", MASK)["settings"], &json!("configured"), &json!("Local")));
    assert_eq!((local.exchanged("ann"), local.exchanged("bob")), (pair("ours", "our secret & more"), pair("ours", "our secret & more")));
    assert_eq!(local.shown("ann")["state"], "callable");
    // Another secret takes effect at the next exchange, a connection's own one lies over it, and makes way again.
    me.ok("PATCH", OURS, &json!({"settings": {"client_secret": "the next secret"}}));
    assert_eq!(local.exchanged("ann"), pair("ours", "the next secret"));
    assert_eq!(local.ask("PATCH", LOCAL, "bob", &json!({"settings": {"client_secret": "bob's own"}})).status(), 200);
    assert_eq!((local.exchanged("bob"), local.exchanged("ann")), (pair("ours", "bob's own"), pair("ours", "the next secret")));
    local.ask("PATCH", LOCAL, "bob", &json!({"settings": {"client_id": "bob", "client_secret": null}}));
    assert_eq!(local.exchanged("bob"), pair("bob", "the next secret"));
    local.ask("PATCH", LOCAL, "bob", &json!({"settings": {"client_id": ""}}));
    assert_eq!(local.exchanged("bob"), pair("ours", "the next secret"), "an empty field is no value of its own");
    assert_eq!(me.status("DELETE", OURS, &Value::Null), 204);
    let (status, word) = error(local.ask("POST", &format!("{LOCAL}/token"), "ann", &Value::Null));
    assert_eq!((status, word.as_str(), &local.shown("ann")["state"]), (422, "InvalidStateError", &json!("callable")), "its token is still there");
}

#[test]
fn a_service_that_is_switched_off_is_named_and_can_be_switched_on_again() {
    let local = local();
    let me = owner(&local.server);
    local.ask("PATCH", LOCAL, "ann", &client("ann", "own"));
    assert_eq!(local.exchanged("ann"), pair("ann", "own"));
    assert_eq!(me.ok("PATCH", OURS, &json!({"enabled": false}))["state"], "disabled");
    let refused = local.ask("POST", &format!("{LOCAL}/token"), "ann", &Value::Null);
    assert_eq!(refused.status(), 422);
    assert_eq!(refused.json::<Value>().unwrap()["detail"], "the integration with Local is disabled");
    assert_eq!(local.shown("ann")["integration_state"], "disabled");
    assert_eq!(local.shown("nobody")["integration_state"], "disabled");
    // Everything else goes on.
    assert_eq!(local.ask("PATCH", LOCAL, "ann", &json!({"metadata": {"a": 1}})).status(), 200);
    assert_eq!((&local.shown("ann")["state"], &local.shown("ann")["health"]), (&json!("callable"), &json!("ok")));
    assert_eq!(me.ok("PATCH", OURS, &json!({"enabled": true}))["state"], "needs_configuration");
    assert_eq!(local.exchanged("ann"), pair("ann", "own"));
}

#[test]
fn what_is_supplied_is_hidden_and_not_asked_for_and_a_value_of_ones_own_is_seen() {
    let local = local();
    let me = owner(&local.server);
    let shown = |consumer: &str| {
        let shown = local.shown(consumer);
        let fields = shown["form_fields"].as_array().unwrap().clone();
        let fields: Vec<Value> = fields.iter().map(|field| json!([field["id"], field["hidden"], field["required"], field["value"], field["mask"]])).collect();
        (shown["integration_state"].clone(), shown["settings_required_for_authorization"].clone(), json!(fields))
    };
    let asks = json!([["client_id", false, true, "", false], ["client_secret", false, true, "", false]]);
    assert_eq!(shown("ann"), (json!("needs_configuration"), json!(["client_id", "client_secret"]), asks));
    me.ok("PUT", OURS, &json!({"settings": {"client_id": "canary-id"}}));
    let half = json!([["client_id", true, false, "", false], ["client_secret", false, true, "", false]]);
    assert_eq!(shown("ann"), (json!("needs_configuration"), json!(["client_secret"]), half));
    me.ok("PATCH", OURS, &json!({"settings": {"client_secret": "canary-secret"}}));
    let hidden = json!([["client_id", true, false, "", false], ["client_secret", true, false, "", false]]);
    assert_eq!(shown("ann"), (json!("configured"), json!([]), hidden));
    let all = local.ask("GET", "/vault/connections?api=crm", "ann", &Value::Null).text().unwrap();
    assert!(all.contains("\"integration_state\":\"configured\"") && !all.contains("canary"));
    local.ask("PATCH", LOCAL, "ann", &client("own", "own secret"));
    let own = json!([["client_id", false, false, "own", false], ["client_secret", false, false, MASK, true]]);
    assert_eq!(shown("ann"), (json!("configured"), json!([]), own));
    // With values of its own a connection needs no integration.
    me.status("DELETE", OURS, &Value::Null);
    assert_eq!((shown("ann").0, shown("bob").0), (json!("configured"), json!("needs_configuration")));
}

#[test]
fn a_client_secret_is_not_sent_to_a_host_that_a_customer_entered() {
    let local = local();
    let me = owner(&local.server);
    service(&me, &format!("http://{{host}}:{}/token", local.port), &[field("host", false)]);
    me.ok("PUT", OURS, &client("ours", "our secret"));
    assert_eq!(local.ask("PATCH", LOCAL, "eve", &json!({"settings": {"host": "127.0.0.1"}})).status(), 200);
    let refused = local.ask("POST", &format!("{LOCAL}/token"), "eve", &Value::Null);
    assert_eq!(refused.status(), 422);
    assert_eq!(refused.json::<Value>().unwrap()["detail"], "Local requires client_secret to be set before authorizing.");
    let shown = local.shown("eve");
    assert_eq!(
        (&shown["integration_state"], &shown["settings_required_for_authorization"]),
        (&json!("needs_configuration"), &json!(["client_secret", "host"]))
    );
    // With a secret of its own it may go anywhere, and with a host of the tenant's the tenant's secret goes there.
    local.ask("PATCH", LOCAL, "eve", &json!({"settings": {"client_secret": "eve's"}}));
    assert_eq!(local.exchanged("eve"), pair("ours", "eve's"));
    me.ok("PATCH", OURS, &json!({"settings": {"host": "127.0.0.1"}}));
    local.ask("PATCH", LOCAL, "bob", &json!({"enabled": true}));
    assert_eq!(local.exchanged("bob"), pair("ours", "our secret"));
    assert!(local.sent.try_recv().is_err(), "nothing else was sent");
}

#[test]
fn two_tenants_do_not_see_each_others() {
    let local = local();
    let me = owner(&local.server);
    me.ok("PUT", OURS, &client("ours", "our secret"));
    let begun = me.ok("POST", "/v1/tenants", &json!({"name": "acme"}));
    let them = As { server: &local.server, token: begun["owner_token"].as_str().unwrap().to_owned() };
    service(&them, &format!("http://127.0.0.1:{}/token", local.port), &[]);
    let missing = them.send("GET", "/v1/integrations/crm/pipedrive", &Value::Null).text().unwrap();
    for (method, path) in [("GET", OURS.to_owned()), ("DELETE", OURS.to_owned()), ("GET", format!("{OURS}/history"))] {
        let answer = them.send(method, &path, &Value::Null);
        assert_eq!((answer.status().as_u16(), answer.text().unwrap()), (404, missing.clone()), "{method} {path}");
    }
    assert_eq!(them.ok("GET", "/v1/integrations", &Value::Null)["data"], json!([]));
    let id = me.ok("GET", OURS, &Value::Null)["id"].clone();
    let reveal = json!({"credential": id, "secret": "settings.client_secret", "reason": "a test"});
    assert_eq!(them.status("POST", "/v1/secrets/reveal", &reveal), 404);
    let state = |caller: &As<'_>| {
        let request = caller.call("GET", LOCAL).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "ann");
        request.send().unwrap().json::<Value>().unwrap()["data"]["integration_state"].clone()
    };
    assert_eq!((state(&me), state(&them)), (json!("configured"), json!("needs_configuration")));
    them.ok("PUT", OURS, &client("theirs", "their secret"));
    local.ask("PATCH", LOCAL, "ann", &json!({"enabled": true}));
    assert_eq!(local.exchanged("ann"), pair("ours", "our secret"));
    assert_eq!(me.ok("POST", "/v1/secrets/reveal", &reveal)["value"], "our secret");
}

#[test]
fn changes_are_bound_to_what_was_seen_and_carried_out_once_and_the_past_is_as_it_was() {
    let local = local();
    let me = owner(&local.server);
    let send = |method: &str, header: (&str, &str), body: &Value| me.call(method, OURS).header(header.0, header.1).json(body).send().unwrap();
    assert_eq!(send("PUT", ("if-match", "\"1\""), &client("a", "b")).status(), 412, "there is none yet");
    let first = send("PUT", ("idempotency-key", "one"), &client("a", "b"));
    let position = first.headers()["keyledger-position"].to_str().unwrap().to_owned();
    let again = send("PUT", ("idempotency-key", "one"), &client("a", "b"));
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (200, "\"1\""));
    assert_eq!(send("PUT", ("idempotency-key", "one"), &client("a", "c")).status(), 422, "another request under the same key");
    assert_eq!(send("PATCH", ("if-match", "\"2\""), &json!({"enabled": false})).status(), 412);
    assert_eq!(send("PATCH", ("if-match", "\"1\""), &json!({"enabled": false, "settings": {"client_id": "new"}})).status(), 200);
    assert_eq!(send("PATCH", ("if-match", "\"2\""), &json!({"unknown": 1})).status(), 400);
    me.ok("PUT", "/v1/integrations/crm/pipedrive", &client("p", "q"));
    let page = me.ok("GET", "/v1/integrations?limit=1", &Value::Null);
    assert_eq!((page["data"].as_array().unwrap().len(), &page["data"][0]["service_id"]), (1, &json!("local")));
    let next = me.ok("GET", &format!("/v1/integrations?limit=1&cursor={}", page["next_cursor"].as_str().unwrap()), &Value::Null);
    assert_eq!((&next["data"][0]["service_id"], &next["next_cursor"]), (&json!("pipedrive"), &Value::Null));
    assert_eq!(me.ok("GET", "/v1/integrations?unified_api=hris", &Value::Null)["data"], json!([]));
    assert_eq!(send("DELETE", ("if-match", "\"1\""), &Value::Null).status(), 412);
    assert_eq!(send("DELETE", ("if-match", "\"2\""), &Value::Null).status(), 204);
    let past = me.ok("GET", &format!("{OURS}?as_of={position}"), &Value::Null);
    assert_eq!((&past["settings"], &past["enabled"]), (&client("a", MASK)["settings"], &json!(true)));
    let types = |path: &str| {
        let events = me.ok("GET", path, &Value::Null)["data"].as_array().unwrap().clone();
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&format!("{OURS}/history")), ["deleted", "updated", "created"], "also when it is gone");
    assert_eq!(types(&format!("{OURS}/history?as_of={position}")), ["created"]);
    assert_eq!(me.status("GET", OURS, &Value::Null), 404);
    let listed = me.ok("GET", "/v1/credentials?kind=integration&show=all", &Value::Null);
    let states: Vec<_> = listed["data"].as_array().unwrap().iter().map(|one| (one["name"].clone(), one["state"].clone())).collect();
    assert_eq!(states, [(json!("crm+local"), json!("deleted")), (json!("crm+pipedrive"), json!("active"))]);
}
