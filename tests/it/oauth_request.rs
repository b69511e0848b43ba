//! What each shipped connector's exchange sends, and how answers are read.

use keyledger::credentials::connection::Outcome;
use keyledger::credentials::connector::{Connector, shipped};
use keyledger::kernel::{Moment, Refusal, Secret};
use keyledger::oauth::{Grant, read_answer, token_request};
use serde_json::{Value, json};

fn grant(value: &Value) -> Grant {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    match value["type"].as_str().unwrap() {
        "authorization_code" => Grant::AuthorizationCode {
            code: Secret::from(text("code").unwrap()),
            redirect_uri: text("redirect_uri").unwrap(),
            code_verifier: text("code_verifier").map(Secret::from),
        },
        "client_credentials" => Grant::ClientCredentials,
        "password" => Grant::Password,
        other => panic!("{other}"),
    }
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

#[test]
fn every_oauth_connector_sends_its_fixture() {
    let mut seen = 0;
    for connector in shipped().unwrap().into_iter().filter(|connector| connector.oauth.is_some()) {
        let name = format!("{}+{}", connector.unified_api, connector.service_id);
        let path = format!("{}/tests/fixtures/exchanges/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let settings = |id: &str| fixture["settings"][id].as_str().map(Secret::from);
        let sent = token_request(&connector, &grant(&fixture["grant"]), &settings).unwrap();
        assert_eq!(sent.url, fixture["request"]["url"], "{name}");
        assert_eq!(text(&sent.body), fixture["request"]["body"].as_str().unwrap(), "{name}");
        let headers: serde_json::Map<String, Value> = sent.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(text(value)))).collect();
        assert_eq!(Value::Object(headers), fixture["request"]["headers"], "{name}");
        seen += 1;
    }
    assert!(seen >= 20);
}

fn with_host_setting() -> Connector {
    shipped().unwrap().into_iter().find(|c| c.oauth.as_ref().is_some_and(|o| o.token_url.contains('{'))).unwrap()
}

#[test]
fn a_setting_cannot_move_the_request_elsewhere() {
    for evil in ["evil.com/", "a@evil.com", "a:1", "a#", "a?", "a\\", "..", ".", ".a", "a.", "", "a b", "{x}", "ä"] {
        let settings = |_: &str| Some(Secret::from(evil));
        let grant = Grant::ClientCredentials;
        assert!(matches!(token_request(&with_host_setting(), &grant, &settings), Err(Refusal::Invalid { .. })), "{evil}");
    }
    assert!(matches!(token_request(&with_host_setting(), &Grant::ClientCredentials, &|_| None), Err(Refusal::InvalidState(_))));
}

fn cause(status: u16, body: &str) -> (String, bool) {
    match read_answer(status, body.as_bytes(), None, Moment::from_millis(0), &[&Secret::from("hush_hush")]) {
        Outcome::Failed { cause, passing, status: Some(told), .. } if told == status => (cause, passing),
        _ => panic!("{status} {body} was taken for tokens"),
    }
}

#[test]
fn bad_answers_fail_with_a_cause_that_repeats_nothing_of_theirs() {
    let canary = "sk-canary";
    let cases = [
        (200, "<html>sk-canary</html>".to_owned(), "the service answered 200 without a JSON object", false),
        (200, json!([canary]).to_string(), "the service answered 200 without a JSON object", false),
        (200, json!({"error": "invalid_client"}).to_string(), "the service answered 200 without an access_token: invalid_client", false),
        (200, json!({"access_token": "sk-canary\r\nX: y"}).to_string(), "the service's access_token is not a token", false),
        (200, json!({"access_token": "sk-canary\0"}).to_string(), "the service's access_token is not a token", false),
        (200, json!({"access_token": 7}).to_string(), "the service's access_token is not a token", false),
        (200, json!({"access_token": "a", "refresh_token": {"x": canary}}).to_string(), "the service's refresh_token is not a token", false),
        (400, json!({"error": "invalid_grant", "error_description": canary}).to_string(), "the service answered 400: invalid_grant", false),
        (401, json!({"error": "Bad sk-canary!"}).to_string(), "the service answered 401", false),
        (401, json!({"error": "not_hush_hush"}).to_string(), "the service answered 401", false),
        (302, String::new(), "the service answered 302: redirects are not followed", false),
        (429, String::new(), "the service answered 429", true),
        (503, canary.to_owned(), "the service answered 503", true),
    ];
    for (status, body, expected, passing) in cases {
        let (cause, is_passing) = cause(status, &body);
        assert_eq!((cause.as_str(), is_passing), (expected, passing), "{status} {body}");
    }
}

#[test]
fn lifetimes_are_believed_within_reason() {
    let longest = 10 * 366 * 24 * 3600;
    let lifetimes = [
        (json!(3600), Some(3600)),
        (json!("3600"), Some(3600)),
        (json!(0), Some(0)),
        (json!(longest), Some(longest)),
        (json!(longest + 1), None),
        (json!((longest + 1).to_string()), None),
        (json!(-1), None),
        (json!(u64::MAX), None),
        (json!("x"), None),
        (Value::Null, None),
    ];
    for (expires_in, expected) in lifetimes {
        let body = json!({"access_token": "a", "expires_in": expires_in}).to_string();
        match read_answer(200, body.as_bytes(), None, Moment::from_millis(1000), &[]) {
            Outcome::Tokens(tokens) => assert_eq!(tokens.expires_at, expected.map(|s| Moment::from_millis(1000).plus_seconds(s)), "{body}"),
            _ => panic!("{body}"),
        }
    }
}

#[test]
fn a_setting_that_is_chosen_takes_nothing_but_its_options() {
    let connector = shipped().unwrap().into_iter().find(|connector| connector.service_id == "zoho-crm").unwrap();
    let sent = |data_center: &'static str| {
        let settings = move |id: &str| Some(Secret::from(if id == "data_center" { data_center } else { "x" }));
        token_request(&connector, &Grant::RefreshToken(Secret::from("r")), &settings)
    };
    assert_eq!(sent("com.au").map(|request| request.url).ok().as_deref(), Some("https://accounts.zoho.com.au/oauth/v2/token"));
    assert!(matches!(sent("evil.example"), Err(Refusal::Invalid { field, .. }) if field == "settings.data_center"));
}
