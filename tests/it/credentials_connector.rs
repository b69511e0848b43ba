//! The shipped catalog: sound, unique, wide enough; and what cannot be put.

use std::collections::BTreeSet;

use keyledger::credentials::Subject;
use keyledger::credentials::connector::{Api, AuthType, Connector, Inject, State, decide, placeholders, shipped};
use keyledger::kernel::{Refusal, StreamId, Version};

const NEW: Subject = Subject { stream: StreamId([1; 16]), version: Version::ZERO };

#[test]
fn the_catalog_is_sound_and_wide() {
    let all = shipped().unwrap();
    let names: BTreeSet<_> = all.iter().map(|c| (c.unified_api.clone(), c.service_id.clone())).collect();
    let apis: BTreeSet<_> = all.iter().map(|c| &c.unified_api).collect();
    assert_eq!(names.len(), all.len(), "ids are unique");
    assert!(all.len() >= 40 && apis.len() >= 8, "{} services over {} APIs", all.len(), apis.len());
    for connector in all {
        let name = format!("{}+{}", connector.unified_api, connector.service_id);
        assert_eq!(connector.check(), Ok(()), "{name}");
        assert!(connector.docs.starts_with("https://") && connector.website.starts_with("https://"), "{name}");
        let fixture = format!("{}/tests/fixtures/exchanges/{name}.json", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(connector.oauth.is_some(), std::path::Path::new(&fixture).exists(), "{name}: exactly those with OAuth have a fixture");
    }
}

/// Those of which we do not know a way in that is only put into a request: they sign each one, or have sessions of their own.
const WITHOUT_API: [&str; 8] =
    ["accounting+kashflow", "accounting+netsuite", "accounting+sage-intacct", "ats+bullhorn-ats", "crm+odoo", "ecommerce+magento", "hris+workday", "pos+toast"];

#[test]
fn each_shipped_api_is_called_over_https_with_a_secret_that_its_connector_knows() {
    let mut without = Vec::new();
    for connector in shipped().unwrap() {
        let name = format!("{}+{}", connector.unified_api, connector.service_id);
        let Some(api) = &connector.api else {
            without.push(name);
            continue;
        };
        assert!(api.base_url.starts_with("https://") || api.base_url.starts_with("{base_url}/"), "{name}");
        assert!(!api.base_url.ends_with('/'), "{name}");
        let injects = api.injects(connector.auth_type);
        let held: BTreeSet<String> = injects.iter().flat_map(Inject::values).flat_map(placeholders).map(str::to_owned).collect();
        if connector.auth_type == AuthType::Oauth2 {
            assert!(held.contains("access_token"), "{name}");
            assert!(!held.contains("client_secret"), "{name}: the client's secret is for the token endpoint");
        } else {
            for field in connector.form_fields.iter().filter(|field| field.sensitive) {
                assert!(held.contains(&field.id), "{name}: {} goes in nowhere", field.id);
            }
            assert!(held.iter().any(|id| connector.field(id).unwrap().sensitive), "{name}");
        }
    }
    assert_eq!(without, WITHOUT_API);
}

#[test]
fn a_stored_connector_of_before_is_read_and_an_inject_is_told_by_its_place() {
    let mut stored = serde_json::to_value(pipedrive()).unwrap();
    stored.as_object_mut().unwrap().remove("api");
    assert_eq!(serde_json::from_value::<Connector>(stored.clone()).unwrap().api, None);
    for connector in [serde_json::from_value(stored).unwrap(), pipedrive()] {
        let state = State::Live(Box::new(connector));
        assert_eq!(postcard::from_bytes::<State>(&postcard::to_stdvec(&state).unwrap()).unwrap(), state, "a snapshot keeps it");
    }
    for text in [
        r#"{"in":"header","name":"x-key","value":"{api_key}"}"#,
        r#"{"in":"query","name":"key","value":"{api_key}"}"#,
        r#"{"in":"basic","username":"{api_key}","password":""}"#,
    ] {
        let inject: Inject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&inject).unwrap(), text);
    }
    for bad in [r#"{"in":"cookie","name":"a","value":"b"}"#, r#"{"in":"header","name":"a"}"#, r#"{"in":"query","name":"a","value":"b","more":1}"#] {
        assert!(serde_json::from_str::<Inject>(bad).is_err(), "{bad}");
    }
}

/// Spoils the API of a sound connector, whose fields are `client_id` and the sensitive `client_secret`.
#[test]
fn what_goes_into_calls_is_used_and_a_client_s_secret_is_not() {
    let inject = |value: &str| Inject::Header { name: "x-key".into(), value: value.into() };
    let base_url = "https://{subdomain}.example.com/{region}".to_owned();
    let api = |auth| Api { base_url: base_url.clone(), hosts: vec!["{account}.example.org".into()], auth };
    let used = ["subdomain", "region", "account", "api_key"].map(|id| api(vec![inject("Key {api_key}")]).uses(AuthType::ApiKey, id));
    assert_eq!(used, [true; 4]);
    let used = ["client_secret", "api_key", "access_token"].map(|id| api(vec![]).uses(AuthType::Oauth2, id));
    assert_eq!(used, [false, false, true]);
}

fn refused_api(spoil: impl FnOnce(&mut Api)) -> String {
    let mut connector = pipedrive();
    spoil(connector.api.as_mut().unwrap());
    match connector.check() {
        Err(Refusal::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_base_url_names_a_host_and_nothing_that_moves_the_call_elsewhere() {
    for bad in [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://127.0.0.1/v1",
        "https://[::1]/v1",
        "https://0x7f.1/v1",
        "https://2130706433/",
        "https://user@api.example.com",
        "https://@api.example.com",
        "https://api.example.com/v1?a=b",
        "https://api.example.com/v1#a",
        "https://api.example.com/../v1",
        "https://api.example.com/%2e/v1",
        "https://api.example.com\\v1",
        "https://API.example.com/v1",
        "https://api.example.com/{client_secret}",
        "https://{client_secret}.example.com",
        "https://{nothing}.example.com",
        "https://{client_id.example.com",
        "https://client_id}.example.com",
        "https://api.example.com/a b",
        "https://api.exämple.com",
        "{client_secret}/v1",
        "{client_id}@evil.example",
    ] {
        assert_eq!(refused_api(|api| api.base_url = bad.into()), "api.base_url", "{bad}");
    }
    for good in
        ["https://api.example.com", "https://api.example.com/v1/", "http://{client_id}.example.com:8080/{client_id}", "{client_id}", "{client_id}/api/3"]
    {
        let mut connector = pipedrive();
        connector.api.as_mut().unwrap().base_url = good.into();
        assert_eq!(connector.check(), Ok(()), "{good}");
    }
}

#[test]
fn hosts_are_names_and_wildcards_stay_below_somebody_s_own_domain() {
    for bad in [
        "",
        "*",
        "*.",
        "*.com",
        "*.co.uk",
        "*.com.au",
        "a.*.example.com",
        "*example.com",
        "127.0.0.1",
        "*.0.0.1",
        "0x7f.1",
        "[::1]",
        "api.example.com:443",
        "https://api.example.com",
        "api.example.com/v1",
        "API.example.com",
        "api..example.com",
        "api.example.com.",
        "-a.example.com",
        "user@api.example.com",
        "{client_secret}.example.com",
        "{nothing}.example.com",
        "*.{client_id}.example.com",
        "{client_id",
    ] {
        assert_eq!(refused_api(|api| api.hosts = vec!["files.example.com".into(), bad.into()]), "api.hosts[1]", "{bad}");
    }
    let mut connector = pipedrive();
    connector.api.as_mut().unwrap().hosts =
        ["files.example.com", "*.example.com", "*.example.co.uk", "{client_id}.example.com", "{client_id}"].map(str::to_owned).into();
    assert_eq!(connector.check(), Ok(()));
    connector.api.as_mut().unwrap().hosts = vec!["files.example.com".into(); 17];
    assert!(matches!(connector.check(), Err(Refusal::Limit { limit: 16, .. })));
}

#[test]
fn credentials_go_into_places_that_are_theirs_to_take() {
    let header = |name: &str, value: &str| Inject::Header { name: name.into(), value: value.into() };
    let query = |name: &str, value: &str| Inject::Query { name: name.into(), value: value.into() };
    let basic = |username: &str, password: &str| Inject::Basic { username: username.into(), password: password.into() };
    for bad in [
        header("", "{client_id}"),
        header("a b", "{client_id}"),
        header("a:b", "{client_id}"),
        header("a\r\nb", "{client_id}"),
        header("Host", "{client_id}"),
        header("content-length", "{client_id}"),
        header("transfer_encoding", "{client_id}"),
        header("cookie", "{client_id}"),
        header("accept-encoding", "{client_id}"),
        header("x-apideck-app-id", "{client_id}"),
        header("keyledger-position", "{client_id}"),
        header("x-key", ""),
        header("x-key", " {client_id}"),
        header("x-key", "a\r\nb"),
        header("x-key", "{nothing}"),
        header("x-key", "{client_id"),
        header("x-key", "client_id}"),
        query("", "{client_id}"),
        query("a&b", "{client_id}"),
        query("key", ""),
        query("key", "{nothing}"),
        basic("", ""),
        basic("a:b", "{client_secret}"),
        basic("{nothing}", "{client_secret}"),
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(refused_api(|api| api.auth = vec![bad]), "api.auth[0]", "{shown}");
    }
    let twice =
        [(header("Authorization", "a {client_id}"), basic("a", "b")), (query("a", "b"), query("a", "{client_id}")), (header("x_a", "b"), header("x-a", "b"))];
    for (first, second) in twice {
        assert_eq!(refused_api(|api| api.auth = vec![first, second]), "api.auth[1]");
    }
    let mut connector = pipedrive();
    connector.api.as_mut().unwrap().auth =
        vec![header("x-key", "Key {client_secret} {access_token}"), query("key", "{client_id}"), basic("", "{client_secret}")];
    assert_eq!(connector.check(), Ok(()));
    // Where there is no access token, a field of that name would have to be one of the form.
    (connector.auth_type, connector.oauth) = (AuthType::ApiKey, None);
    assert!(matches!(connector.check(), Err(Refusal::Invalid { field, .. }) if field == "api.auth[0]"));
}

fn pipedrive() -> Connector {
    shipped().unwrap().into_iter().find(|c| c.service_id == "pipedrive" && c.unified_api == "crm").unwrap()
}

/// One way to make a connector unsound, and the field that is named.
type Break = (fn(&mut Connector), &'static str);

#[test]
fn an_unsound_connector_is_refused_by_field() {
    let breaks: [Break; 8] = [
        (|c| c.unified_api = "a/b".into(), "unified_api"),
        (|c| c.service_id = String::new(), "service_id"),
        (|c| c.status = "dead".into(), "status"),
        (|c| c.form_fields[0].field_type = "colour".into(), "form_fields.0"),
        (|c| c.form_fields = vec![c.form_fields[0].clone(); 2], "form_fields.1"),
        (|c| c.oauth = None, "oauth"),
        (|c| c.oauth.as_mut().unwrap().token_url = "https://{client_secret}.example.com".into(), "oauth.token_url"),
        (|c| c.settings_required_for_authorization.push("nothing".into()), "settings_required_for_authorization"),
    ];
    for (spoil, expected) in breaks {
        let mut connector = pipedrive();
        spoil(&mut connector);
        match decide(NEW, &State::Absent, connector) {
            Err(Refusal::Invalid { field, .. }) => assert_eq!(field, expected),
            _ => panic!("{expected} was not refused"),
        }
    }
}

#[test]
fn putting_the_same_again_writes_nothing() {
    let live = State::Live(Box::new(pipedrive()));
    assert!(decide(Subject { version: Version(1), ..NEW }, &live, pipedrive()).unwrap().writes.is_empty());
    let plan = decide(NEW, &State::Absent, pipedrive()).unwrap();
    assert_eq!((plan.writes.len(), plan.writes[0].takes.len()), (1, 1));
}
