//! Calls that are passed through: what goes to the service, with which credentials, and what never goes.

use std::sync::atomic::Ordering;

use keyledger::credentials::connector::{AuthType, Inject};
use keyledger::vault::plans;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::proxy_bench::{HOST, ProxyBench, SECRET, header, problem};
use crate::vault_bench::TENANT;

#[tokio::test(flavor = "multi_thread")]
async fn each_sort_of_credentials_goes_in_where_the_connector_says() {
    let bench = ProxyBench::new().await;
    let call = async |auth: Vec<Inject>| {
        bench.with_key(auth).await;
        let answer = bench.call("GET", "/things?a=b%20c").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["keyledger-downstream-status"].to_str().unwrap()), (200, "200"));
        bench.service.last()
    };
    let seen = call(vec![header("X-Api-Key", "Key {api_key}"), header("x-account", "{account}"), header("x-version", "v2")]).await;
    assert_eq!((seen.header("x-api-key"), seen.header("x-account"), seen.header("x-version")), (vec![&*format!("Key {SECRET}")], vec!["me"], vec!["v2"]));
    assert_eq!((seen.url.as_str(), seen.header("authorization")), ("/v1/things?a=b%20c", vec![]));
    let seen = call(vec![Inject::Query { name: "key".into(), value: "{api_key}".into() }]).await;
    assert_eq!(seen.url, "/v1/things?a=b%20c&key=s3cret%2Fwith%2Bodd%3Dparts");
    let seen = call(vec![Inject::Basic { username: "{account}".into(), password: "{password}".into() }]).await;
    assert_eq!(seen.header("authorization"), ["Basic bWU6cGE1NTp3b3JkIA=="]);
    let seen = call(vec![Inject::Basic { username: String::new(), password: "{api_key}".into() }]).await;
    assert_eq!(seen.header("authorization"), ["Basic OnMzY3JldC93aXRoK29kZD1wYXJ0cw=="]);
    bench.with_tokens("an-access-token", 3600).await;
    assert_eq!(bench.call("GET", "/things").send().await.unwrap().status(), 200);
    assert_eq!(bench.service.last().header("authorization"), ["Bearer an-access-token"]);
    bench.put(|_| (), AuthType::None, vec![]).await;
    assert_eq!(bench.call("GET", "/things").send().await.unwrap().status(), 200);
    assert_eq!(bench.service.last().header("authorization"), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_in_is_told_and_nothing_is_called() {
    let bench = ProxyBench::new().await;
    let told = async |auth: Vec<Inject>, secret: &str| {
        bench.with_key(auth).await;
        bench.enter(&[("api_key", json!(secret))]).await;
        let told = problem(bench.call("GET", "/")).await;
        assert!(!told.2.contains(secret), "{told:?}");
        (told.0, told.1)
    };
    let state = (422, "invalid-state".to_owned());
    for bad in ["a\r\nx-evil: 1", "a\nb", "a\0b", "nul\u{7f}", " blank-before", "blank-after "] {
        assert_eq!(told(vec![header("x-key", "{api_key}")], bad).await, state, "{bad:?}");
    }
    assert_eq!(told(vec![Inject::Basic { username: "{api_key}".into(), password: "x".into() }], "a:colon").await, state);
    assert_eq!(told(vec![], "some-secret").await, state, "the connector does not say where the key goes");
    assert_eq!(told(vec![header("x-key", "{client_secret}")], "some-secret").await, state, "it was never entered");
    bench.put(|connector| connector.api = None, AuthType::ApiKey, vec![]).await;
    assert_eq!(problem(bench.call("GET", "/")).await.0, 422);
    assert_eq!(bench.dials(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_headers_and_bodies_go_on_and_what_is_ours_does_not() {
    let bench = ProxyBench::new().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
        let answer = bench.call(method, "/m").body(if ["GET", "HEAD"].contains(&method) { "" } else { " \n" }).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{method}");
        let seen = bench.service.last();
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), (method, if ["GET", "HEAD"].contains(&method) { &b""[..] } else { b" \n" }));
    }
    let answer = bench.call("POST", "/m").header("x-apideck-downstream-method", "delete").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), bench.service.last().method.as_str()), (200, "DELETE"));
    let body = vec![0xff_u8; 100_000];
    let request = bench.call("POST", "/m").body(body.clone()).header("content-type", "application/odd").header("idempotency-key", "k-1");
    let request = request.header("accept-encoding", "gzip, br").header("user-agent", "theirs/1").header("x-own", "1").header("x-own", "2");
    let request = request.header("cookie", "a=b").header("x-apideck-anything", "x").header("keyledger-anything", "x").header("x-forwarded-for", "9.9.9.9");
    let request = request.header("x_apideck_consumer_id", "x").header("x_api_key", "theirs").header("X-Api-Key", "theirs").header("te", "trailers");
    request.header("proxy-authorization", "x").send().await.unwrap();
    let seen = bench.service.last();
    assert_eq!(seen.body, body);
    for (name, expected) in [
        ("content-type", vec!["application/odd"]),
        ("idempotency-key", vec!["k-1"]),
        ("accept-encoding", vec!["identity"]),
        ("user-agent", vec!["theirs/1"]),
        ("x-own", vec!["1", "2"]),
        ("host", vec![&*format!("{HOST}:{}", bench.port)]),
        ("content-length", vec!["100000"]),
        ("x-api-key", vec![&*format!("Key {SECRET}")]),
    ] {
        assert_eq!(seen.header(name), expected, "{name}");
    }
    for name in seen.headers.keys().map(|name| name.as_str().replace('_', "-")) {
        let ours = ["x-apideck-", "keyledger-", "x-forwarded-", "proxy-"].iter().any(|start| name.starts_with(start));
        assert!(!ours && !["authorization", "cookie", "te", "connection"].contains(&name.as_str()), "{name}");
    }
    assert_eq!(seen.headers.keys().filter(|name| name.as_str().replace('_', "-") == "x-api-key").count(), 1, "no second one in disguise");
}

/// Sends bytes as they are; gives the status line and what follows.
async fn raw(bench: &ProxyBench, head: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(bench.base.trim_start_matches("http://")).await.unwrap();
    let ours = format!("host: x\r\nauthorization: Bearer {}\r\nx-apideck-app-id: app\r\nx-apideck-consumer-id: acme\r\n", bench.token);
    let request = format!("GET /v1/proxy HTTP/1.1\r\n{ours}x-apideck-service-id: local\r\n{head}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_connection_stay_here_and_doubled_ones_name_nothing() {
    let bench = ProxyBench::new().await;
    let answer = raw(&bench, "x-apideck-downstream-url: /a\r\nx-secret-of-hop: 1\r\nx-stays: 1\r\nconnection: close, X-Secret-Of-Hop\r\nkeep-alive: 5").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = bench.service.last();
    assert_eq!((seen.header("x-secret-of-hop"), seen.header("keep-alive"), seen.header("x-stays")), (vec![], vec![], vec!["1"]));
    let calls = bench.service.seen().len();
    for doubled in [
        "x-apideck-downstream-url: /a\r\nx-apideck-downstream-url: /b",
        "x-apideck-downstream-url: /a\r\nx-apideck-service-id: other",
        "x-apideck-downstream-url: /a\r\nx-apideck-unified-api: crm\r\nx-apideck-unified-api: crm",
        "x-apideck-downstream-url: /a\r\nx-apideck-downstream-method: GET\r\nx-apideck-downstream-method: POST",
        "x-apideck-downstream-url: /a\r\nx-apideck-consumer-id: other",
        "x-apideck-downstream-url:",
        "x-apideck-downstream-url: /a\u{e9}",
    ] {
        let answer = raw(&bench, &format!("{doubled}\r\nconnection: close")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{doubled}: {answer}");
    }
    for broken in
        ["x-apideck-downstream-url: /a\r\n x-folded: 1", "x-apideck-downstream-url: /a\0", "x-apideck-downstream-url : /a", "x-apideck-downstream-url: /a\rb"]
    {
        let answer = raw(&bench, &format!("{broken}\r\nconnection: close")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{broken:?}: {answer}");
    }
    assert_eq!(bench.service.seen().len(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_lie_below_the_base_and_whole_urls_go_to_hosts_of_the_connector() {
    let bench = ProxyBench::new().await;
    let port = bench.port;
    for (asked, seen, host) in [
        ("/a/b?c=d", "/v1/a/b?c=d".to_owned(), HOST),
        ("a/b", "/v1/a/b".to_owned(), HOST),
        ("?c=d", "/v1/?c=d".to_owned(), HOST),
        ("/a/b@c:d/e;f=g/~h/%20", "/v1/a/b@c:d/e;f=g/~h/%20".to_owned(), HOST),
        ("/a?next=https://elsewhere.example/../x%2F", "/v1/a?next=https://elsewhere.example/../x%2F".to_owned(), HOST),
        (&format!("http://{HOST}:{port}/other"), "/other".to_owned(), HOST),
        (&format!("HTTP://API.Example.com:{port}/other"), "/other".to_owned(), HOST),
        (&format!("http://files.example.com:{port}/f?g"), "/f?g".to_owned(), "files.example.com"),
        (&format!("http://a.b.wide.example.net:{port}/"), "/".to_owned(), "a.b.wide.example.net"),
        (&format!("http://me.own.example.org:{port}"), "/".to_owned(), "me.own.example.org"),
    ] {
        let answer = bench.call("GET", asked).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{asked}: {}", answer.text().await.unwrap());
        let called = bench.service.last();
        assert_eq!((called.url, called.headers["host"].to_str().unwrap()), (seen, &*format!("{host}:{port}")), "{asked}");
    }
    // A base URL that a setting spells out.
    bench.put(|connector| connector.api.as_mut().unwrap().base_url = "{account}/v3".into(), AuthType::ApiKey, vec![header("x-key", "{api_key}")]).await;
    bench.enter(&[("account", json!(format!("http://shop.example.com:{port}/sub/")))]).await;
    assert_eq!(bench.call("GET", "/a").send().await.unwrap().status(), 200);
    let called = bench.service.last();
    assert_eq!((called.url.as_str(), called.headers["host"].to_str().unwrap()), ("/sub/v3/a", &*format!("shop.example.com:{port}")));
    for bad in
        ["shop.example.com", "ftp://shop.example.com", "http://a@shop.example.com", "http://shop.example.com/?a=b", "http://shop.example.com/..", "", "//x"]
    {
        bench.enter(&[("account", json!(bad))]).await;
        let (status, ..) = problem(bench.call("GET", "/a")).await;
        assert!([400, 422].contains(&status), "{bad}: {status}");
    }
}

/// What some reader or other takes for another place, or another path.
const ODD: [&str; 72] = [
    "https://evil.example/",
    "http://api.example.com/",
    "https://api.example.com:8443/",
    "https://api.example.com.evil.example/",
    "https://evilapi.example.com/",
    "https://wide.example.net/",
    "https://evilwide.example.net/",
    "https://other.own.example.org/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://api.example.com./",
    "https://api.example.com.:443/",
    "https://api%2eexample.com/",
    "https://%61pi.example.com/",
    "https://user@api.example.com/",
    "https://user:pass@api.example.com/",
    "https://@api.example.com/",
    "https://api.example.com@evil.example/",
    "https://evil.example\\@api.example.com/",
    "https://api.example.com\\.evil.example/",
    "https://api.example.com#@evil.example/",
    "https://api.example.com/#a",
    "https:api.example.com/",
    "https:/api.example.com/",
    "https:///api.example.com/",
    "https://",
    "https://:443/",
    "https://api.example.com:/",
    "https://api.example.com:0/",
    "https://api.example.com:99999/",
    "ftp://api.example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,a",
    "gopher://api.example.com/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example\\a",
    "/../a",
    "..",
    "/a/..",
    "/a/../../b",
    "/a/./b",
    "/%2e%2e/a",
    "/%2E./a",
    "/.%2e/a",
    "/a/%252e%252e/b",
    "/a/..;/b",
    "/a/..;x=y/b",
    "/a/%2e%2e%3b/b",
    "/a%2fb",
    "/a%2Fb",
    "/a%252fb",
    "/a%5cb",
    "/a%255Cb",
    "/a%00b",
    "/a%0d%0ax:%20y",
    "/a%250d",
    "/a%7f",
    "/a%",
    "/a%g0",
    "/a#b",
    "/a b",
    "/a\tb",
    "/a{b}",
    "/a|b",
    "/a^b",
    "/a<b>",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_somebody_could_read_otherwise_reaches_no_socket() {
    let bench = ProxyBench::new().await;
    let port = bench.port;
    let mut forms: Vec<String> = ODD.map(str::to_owned).into();
    forms.push(format!("/{}", "a".repeat(5000)));
    forms.push(format!("http://{HOST}:{}/", port.wrapping_add(1).max(1)));
    forms.push(format!("https://{HOST}:{port}/"));
    forms.push(format!("http://evil.example:{port}/"));
    assert!(forms.len() > 70);
    for form in &forms {
        let request = bench.call("GET", form);
        let (status, word, detail) = problem(request).await;
        assert_eq!((status, word.as_str()), (400, "invalid"), "{form}: {detail}");
    }
    // The parameter that the vault puts in is its own.
    bench.with_key(vec![Inject::Query { name: "key".into(), value: "{api_key}".into() }]).await;
    for form in ["/a?key=b", "/a?KEY=b", "/a?%6bey=b", "/a?a=b&key"] {
        assert_eq!(problem(bench.call("GET", form)).await.0, 400, "{form}");
    }
    assert_eq!((bench.dials(), bench.service.seen().len()), (0, 0), "the sockets were watched");
    assert_eq!(bench.call("GET", "/a?monkey=b").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_callers_own_connections_in_use_are_called_for() {
    let bench = ProxyBench::new().await;
    let with = |name: &'static str, value: &str| {
        let mut request = bench.call("GET", "/a").build().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        reqwest::RequestBuilder::from_parts(bench.client.clone(), request)
    };
    let without = |name: &str| {
        let mut request = bench.call("GET", "/a").build().unwrap();
        request.headers_mut().remove(name);
        reqwest::RequestBuilder::from_parts(bench.client.clone(), request)
    };
    for (name, value) in
        [("x-apideck-consumer-id", "ghost"), ("x-apideck-app-id", "other"), ("x-apideck-service-id", "ghost"), ("x-apideck-unified-api", "hris")]
    {
        assert_eq!(problem(with(name, value)).await.0, 404, "{name}");
    }
    for name in ["x-apideck-consumer-id", "x-apideck-app-id", "x-apideck-service-id", "x-apideck-downstream-url"] {
        let (status, _, detail) = problem(without(name)).await;
        assert!(status == 400 && detail.contains(name), "{name}: {detail}");
    }
    for (name, value) in [
        ("x-apideck-downstream-authorization", "Bearer theirs"),
        ("x-apideck-downstream-method", "TRACE"),
        ("x-apideck-downstream-method", "CONNECT"),
        ("x-apideck-downstream-method", "GET\u{a0}"),
        ("x-apideck-consumer-id", "a/b"),
    ] {
        assert_eq!(problem(with(name, value)).await.0, 400, "{name}");
    }
    assert_eq!(problem(bench.call_as(&bench.token, "GET", "/v1/proxy?a=b", "/a")).await.0, 400, "a query of our own would be lost");
    // Another tenant's owner sees what a ghost would show.
    let stranger = bench.stranger().await;
    let (theirs, ghost) = (bench.call_as(&stranger, "GET", "/v1/proxy", "/a"), with("x-apideck-consumer-id", "ghost"));
    assert_eq!(theirs.send().await.unwrap().text().await.unwrap(), ghost.send().await.unwrap().text().await.unwrap());
    assert_eq!(problem(bench.call_as("nonsense", "GET", "/v1/proxy", "/a")).await.0, 401);
    assert_eq!(bench.dials(), 0);
    assert_eq!(without("x-apideck-unified-api").send().await.unwrap().status(), 200, "one connection only is to the service");
    bench.put(|connector| connector.unified_api = "lead".into(), AuthType::ApiKey, vec![header("x-key", "{api_key}")]).await;
    let lead = keyledger::credentials::connection::Key { unified_api: "lead".into(), ..ProxyBench::key() };
    let entered = crate::vault_bench::settings(&[("api_key", json!("another key"))]);
    bench.execute(|given| plans::update(given, TENANT, &lead, entered.clone())).await;
    let (status, _, detail) = problem(without("x-apideck-unified-api")).await;
    assert!(status == 400 && detail.contains("x-apideck-unified-api"), "{detail}");
    let calls = bench.service.seen().len();
    let disabled = keyledger::credentials::connection::Changes { enabled: Some(false), ..Default::default() };
    bench.execute(|given| plans::update(given, TENANT, &ProxyBench::key(), disabled.clone())).await;
    assert_eq!(problem(bench.call("GET", "/a")).await.0, 422);
    bench.execute(|given| plans::delete_connection(given, TENANT, &ProxyBench::key())).await;
    assert_eq!(problem(bench.call("GET", "/a")).await.0, 404);
    assert_eq!(bench.service.seen().len(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_413_and_one_at_it_goes_on() {
    let bench = ProxyBench::new().await;
    let limit = keyledger::web::limits::PROXY_BODY;
    assert_eq!(bench.call("POST", "/a").body(vec![b'x'; limit]).send().await.unwrap().status(), 200);
    assert_eq!(bench.service.last().body.len(), limit);
    let (status, word, _) = problem(bench.call("POST", "/a").body(vec![b'x'; limit + 1])).await;
    assert_eq!((status, word.as_str(), bench.service.seen().len()), (413, "body-too-large", 1));
    assert_eq!(bench.service.token_calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_path_does_the_same_and_errs_in_the_vendors_words() {
    let bench = ProxyBench::new().await;
    let answer = bench.call_as(&bench.token, "POST", "/proxy", "/a").body("b").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), bench.service.last().body.as_slice()), (200, &b"b"[..]));
    let told = async |request: reqwest::RequestBuilder| -> serde_json::Value { request.send().await.unwrap().json().await.unwrap() };
    let wrong = told(bench.call_as(&bench.token, "GET", "/proxy", "https://evil.example/")).await;
    assert_eq!((&wrong["status_code"], &wrong["type_name"]), (&json!(400), &json!("RequestValidationError")));
    let mut request = bench.call_as(&bench.token, "GET", "/proxy", "/a").build().unwrap();
    request.headers_mut().remove("x-apideck-consumer-id");
    let missing = told(reqwest::RequestBuilder::from_parts(bench.client.clone(), request)).await;
    assert_eq!((&missing["status_code"], &missing["type_name"]), (&json!(400), &json!("RequestHeadersValidationError")));
    let nobody = told(bench.call_as("nonsense", "GET", "/proxy", "/a")).await;
    assert_eq!((&nobody["status_code"], &nobody["type_name"]), (&json!(401), &json!("UnauthorizedError")));
}
