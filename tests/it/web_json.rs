//! What every surface shares: strict bodies, headers, pages, problems; and that no error repeats a value of the input.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use keyledger::kernel::{Moment, Position, Refusal, StreamId, Version};
use keyledger::web::as_of::AsOf;
use keyledger::web::body::{BodyError, Object, check, parse, read_json, to_value_json};
use keyledger::web::caller::{HeaderError, MissingOrMalformed, bearer_token, etag, host, idempotency_key, if_match, meta};
use keyledger::web::page::{PageError, cursor, limit, read_cursor};
use keyledger::web::problem::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

const CANARY: &str = "c4n4ry-value";

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    name: String,
    #[serde(default)]
    count: u8,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    named: BTreeMap<String, Part>,
    one: Option<Part>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    sort: Sort,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    Big,
    Small,
}

fn shape(path: &str, problem: &str) -> BodyError {
    BodyError::Shape { path: path.to_owned(), problem: problem.to_owned() }
}

fn twice(path: &str) -> BodyError {
    BodyError::DuplicateKey { path: path.to_owned() }
}

#[test]
fn only_one_json_value_in_utf8_passes() {
    for good in ["{}", " [1, -0, 1.5e3, true, null, \"\\ud83d\\ude00\"]\r\n\t", "0", "\"\"", "123456789012345678901234567890", r#"{"a":{"a":1},"b":{"a":1}}"#] {
        assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
    }
    let bad: [&[u8]; 26] = [
        b"",
        b" ",
        b"{",
        b"}",
        b"{}{}",
        b"{} x",
        b"[1,]",
        b"{\"a\":1,}",
        b"{a:1}",
        b"{'a':1}",
        b"NaN",
        b"[NaN]",
        b"Infinity",
        b"-",
        b"01",
        b"1.",
        b"1e999",
        b"nul",
        b"// x\n{}",
        b"\"\\ud800\"",
        b"\"\\udc00\\ud800\"",
        b"{\"\\ud800\":1}",
        b"\"\x01\"",
        b"\xef\xbb\xbf{}",
        b"\"\xff\"",
        b"{\"\xc3\":1}",
    ];
    for bad in bad {
        assert_eq!(check(bad), Err(BodyError::NotJson), "{}", String::from_utf8_lossy(bad));
        assert_eq!(to_value_json(bad), Err(BodyError::NotJson));
    }
    assert_eq!(to_value_json(b"[1,{\"b\":null}]"), Ok(json!([1, {"b": null}])));
}

#[test]
fn depth_is_held_at_its_edge() {
    let nested = |levels: usize| [format!("{}1{}", "[".repeat(levels), "]".repeat(levels)), format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))];
    for levels in [1, 15, 16] {
        assert!(nested(levels).iter().all(|text| check(text.as_bytes()).is_ok()), "{levels}");
    }
    for levels in [17, 100, 1000, 30_000] {
        assert!(nested(levels).iter().all(|text| check(text.as_bytes()) == Err(BodyError::TooDeep { limit: 16 })), "{levels}");
    }
    assert_eq!(check("[".repeat(60_000).as_bytes()), Err(BodyError::TooDeep { limit: 16 }), "an unfinished one as well");
}

#[test]
fn no_member_stands_twice_at_any_level() {
    let long = "a".repeat(65);
    for (text, path) in [
        (r#"{"a":1,"a":1}"#.to_owned(), "a".to_owned()),
        (r#"{"a":1,"\u0061":2}"#.to_owned(), "a".to_owned()),
        (r#"{"x":[0,{"b":{"c":1,"d":2,"c":3}}]}"#.to_owned(), "x[1].b.c".to_owned()),
        (r#"[{"a":1},{"a":1,"a":{}}]"#.to_owned(), "[1].a".to_owned()),
        (r#"{"sk-live 1":1,"sk-live 1":2}"#.to_owned(), "*".to_owned()),
        (r#"{"sk-live 1":{"a":1,"a":2}}"#.to_owned(), "*.a".to_owned()),
        (r#"{"":1,"":2}"#.to_owned(), "*".to_owned()),
        (format!(r#"{{"{long}":1,"{long}":2}}"#), format!("{}…", "a".repeat(64))),
    ] {
        assert_eq!(check(text.as_bytes()), Err(twice(&path)), "{text}");
    }
}

#[test]
fn wrong_shapes_are_named_in_our_own_words() {
    let good = parse::<Thing>(br#"{"name":"n","parts":[{"sort":"big"}],"named":{"k":{"sort":"small"}},"one":null}"#).unwrap();
    assert_eq!((good.parts[0].sort == Sort::Big, good.count, good.one), (true, 0, None));
    let unknown = "is not known";
    for (text, expected) in [
        ("{}".to_owned(), shape("name", "is missing")),
        ("[]".to_owned(), shape("", "has the wrong type")),
        (format!("\"{CANARY}\""), shape("", "has the wrong type")),
        (format!(r#"["{CANARY}", 1, [], {{}}, null]"#), shape("", "has the wrong type")),
        (r#"{"name":7}"#.to_owned(), shape("name", "has the wrong type")),
        (r#"{"name":null}"#.to_owned(), shape("name", "has the wrong type")),
        (format!(r#"{{"name":"n","count":"{CANARY}"}}"#), shape("count", "has the wrong type")),
        (r#"{"name":"n","count":256}"#.to_owned(), shape("count", "has a value that is not allowed")),
        (r#"{"name":"n","parts":[{"sort":"big"},{}]}"#.to_owned(), shape("parts[1].sort", "is missing")),
        (format!(r#"{{"name":"n","parts":[{{"sort":"{CANARY}"}}]}}"#), shape("parts[0].sort", "is none of the known values")),
        (r#"{"name":"n","one":{"sort":"big","more":1}}"#.to_owned(), shape("one.*", unknown)),
        (format!(r#"{{"name":"n","{CANARY}":1}}"#), shape("*", unknown)),
        (format!(r#"{{"name":"n","{}":1}}"#, "b".repeat(70)), shape("*", unknown)),
        (format!(r#"{{"name":"n","named":{{"{CANARY}":{{"sort":1}}}}}}"#), shape("named.*.sort", "has a value that is not allowed")),
    ] {
        let error = parse::<Thing>(text.as_bytes()).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(!format!("{error} {error:?} {:?}", Problem::from(error.clone())).contains(CANARY), "{text}");
    }
    assert!(parse::<Object<Thing>>(br#"{"name":"n"}"#).is_ok());
}

#[test]
fn no_error_repeats_a_value() {
    let bodies = [
        "{0}",
        "\"{0}",
        "{\"name\":{0}}",
        "{\"name\":\"{0}\",\"name\":\"{0}\"}",
        "{\"name\":\"{0}\"} {0}",
        "{\"{0}\":\"{0}\",\"{0}\":\"{0}\"}",
        "{\"name\":[\"{0}\"]}",
        "{\"name\":\"\\ud800{0}\"}",
    ];
    for text in bodies.map(|body| body.replace("{0}", CANARY)) {
        let error = parse::<Thing>(text.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(CANARY), "{text}");
    }
    let deep = format!("{}\"{CANARY}\"{}", "[".repeat(17), "]".repeat(17));
    assert!(!format!("{:?}", check(deep.as_bytes())).contains(CANARY));
    let texts = [
        limit(Some(CANARY)).unwrap_err().to_string(),
        read_cursor(CANARY).unwrap_err().to_string(),
        CANARY.parse::<AsOf>().unwrap_err().to_string(),
        if_match(&headers("if-match", &[CANARY])).unwrap_err().to_string(),
        idempotency_key(&headers("idempotency-key", &[&format!("{CANARY} b")])).unwrap_err().to_string(),
        bearer_token(&headers("authorization", &[CANARY])).unwrap_err().to_string(),
    ];
    assert!(texts.iter().all(|text| !text.contains(CANARY)), "{texts:?}");
}

#[tokio::test]
async fn size_is_held_at_its_edge_and_an_empty_body_is_none() {
    let sized = |size: usize| format!("\"{}\"", "a".repeat(size - 2));
    let read = |text: String| async move { read_json::<Thing>(Body::from(text), 100).await };
    assert_eq!(read(String::new()).await, Ok(None));
    assert_eq!(read(" \r\n\t".to_owned()).await, Ok(None));
    assert_eq!(read(sized(100)).await, Err(shape("", "has the wrong type")));
    assert_eq!(read(sized(101)).await, Err(BodyError::TooLarge(100)));
    assert_eq!(read(" ".repeat(101)).await, Err(BodyError::TooLarge(100)));
    assert_eq!(read(r#"{"name":"n"}"#.to_owned()).await.unwrap().unwrap().name, "n");
}

fn headers(name: &str, values: &[&str]) -> HeaderMap {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
}

#[test]
fn if_match_takes_one_strong_tag_as_etag_gives_it() {
    for version in [0, 1, 7, u64::MAX] {
        let tag = etag(Version(version));
        assert_eq!(if_match(&headers("if-match", &[tag.to_str().unwrap()])), Ok(Some(Version(version))));
    }
    assert_eq!(if_match(&HeaderMap::new()), Ok(None));
    assert_eq!(if_match(&headers("if-match", &["*"])), Err(HeaderError::AnyMatch));
    assert_eq!(if_match(&headers("if-match", &["W/\"7\""])), Err(HeaderError::WeakMatch));
    for bad in
        ["", "7", "\"\"", "\"7", "7\"", "\"+7\"", "\"07\"", "\"-1\"", "\"7\", \"8\"", "\"x\"", "\"18446744073709551616\"", "\" 7\"", "w/\"7\"", "\"", "\"٧\""]
    {
        assert_eq!(if_match(&headers("if-match", &[bad])), Err(HeaderError::IfMatch), "{bad}");
    }
    assert_eq!(if_match(&headers("if-match", &["\"7\"", "\"7\""])), Err(HeaderError::IfMatch));
}

#[test]
fn bearer_key_and_host_are_given_once_and_well_formed() {
    for good in ["Bearer a.b-c_d~e+f/g=", "bearer a.b-c_d~e+f/g=", "BEARER   a.b-c_d~e+f/g="] {
        assert_eq!(bearer_token(&headers("authorization", &[good])), Ok("a.b-c_d~e+f/g="), "{good}");
    }
    assert_eq!(bearer_token(&HeaderMap::new()), Err(MissingOrMalformed::Missing));
    for bad in ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer a,b", "Bearer é", "Bearera", "a"] {
        assert_eq!(bearer_token(&headers("authorization", &[bad])), Err(MissingOrMalformed::Malformed), "{bad}");
    }
    assert!(bearer_token(&headers("authorization", &[&format!("Bearer {}", "a".repeat(4096))])).is_ok());
    for twice in [vec![format!("Bearer {}", "a".repeat(4097))], vec!["Bearer a".to_owned(), "Bearer a".to_owned()]] {
        let values: Vec<&str> = twice.iter().map(String::as_str).collect();
        assert_eq!(bearer_token(&headers("authorization", &values)), Err(MissingOrMalformed::Malformed));
    }

    let (edge, over) = ("k".repeat(255), "k".repeat(256));
    assert_eq!(idempotency_key(&headers("idempotency-key", &[&edge])), Ok(Some(edge.as_str())));
    assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    for bad in [vec![over.as_str()], vec![""], vec!["a b"], vec!["é"], vec!["a", "a"]] {
        assert_eq!(idempotency_key(&headers("idempotency-key", &bad)), Err(HeaderError::IdempotencyKey), "{bad:?}");
    }

    assert_eq!(host(&headers("host", &["a.example:80"])), Ok("a.example:80"));
    for bad in [vec![], vec![""], vec!["a", "a"]] {
        assert_eq!(host(&headers("host", &bad)), Err(HeaderError::Host), "{bad:?}");
    }
}

#[test]
fn of_a_caller_its_address_its_rule_and_the_beginning_of_its_agent_are_kept() {
    let agents = [("curl/8", Some("curl/8".to_owned())), ("", None), (&"a".repeat(256), Some("a".repeat(256))), (&"a".repeat(257), Some("a".repeat(256)))];
    for (agent, kept) in agents {
        let meta = meta(&headers("user-agent", &[agent]), Some([203, 0, 113, 7].into()), "role:owner");
        assert_eq!((meta.ip.as_deref(), meta.rule.as_deref(), meta.agent), (Some("203.0.113.7"), Some("role:owner"), kept));
    }
}

#[test]
fn pages_take_limits_and_cursors_of_ours() {
    for (text, expected) in [(None, Ok(20)), (Some("1"), Ok(1)), (Some("200"), Ok(200)), (Some("0200"), Ok(200))] {
        assert_eq!(limit(text), expected);
    }
    for bad in ["", "0", "201", "-1", "+5", "1.0", "1e2", " 5", "x", "99999999999999999999999"] {
        assert_eq!(limit(Some(bad)), Err(PageError::Limit), "{bad}");
    }
    for place in [&b""[..], b"a", b"ab", b"abc", &[0xff; 64]] {
        assert_eq!(read_cursor(&cursor(place)).as_deref(), Ok(place));
    }
    let given = cursor(b"abc");
    for bad in [
        String::new(),
        "=".into(),
        "AQ==".into(),
        "AR".into(),
        "Ag".into(),
        "AA".into(),
        "A".into(),
        "+/+/".into(),
        "é".into(),
        format!("{given} "),
        format!("{given}="),
        "AQ".repeat(513),
    ] {
        assert_eq!(read_cursor(&bad), Err(PageError::Cursor), "{bad}");
    }
}

#[test]
fn as_of_takes_a_position_or_an_instant() {
    assert_eq!("0".parse(), Ok(AsOf::Position(Position(0))));
    assert_eq!("18446744073709551615".parse(), Ok(AsOf::Position(Position(u64::MAX))));
    assert_eq!("2026-05-04T14:05:00+02:00".parse(), Ok(AsOf::Instant("2026-05-04T12:05:00Z".parse::<Moment>().unwrap())));
    for bad in ["", "-1", "+1", "1.5", "18446744073709551616", "2026-05-04", "2026-05-04T14:05:00", "yesterday", "٧"] {
        assert!(bad.parse::<AsOf>().is_err(), "{bad}");
    }
}

async fn answered(problem: Problem) -> (StatusCode, HeaderMap, Value) {
    let (parts, body) = problem.into_response().into_parts();
    (parts.status, parts.headers, serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
}

#[tokio::test]
async fn problems_are_rfc_9457() {
    let (status, headers, body) = answered(Problem::from(Refusal::invalid("items[3].settings.base_url", "is not https"))).await;
    assert_eq!(
        (status, &headers["content-type"], &headers["cache-control"]),
        (StatusCode::BAD_REQUEST, &HeaderValue::from_static("application/problem+json"), &HeaderValue::from_static("no-store"))
    );
    let expected = json!({
        "type": "urn:keyledger:problem:invalid", "title": "Bad Request", "status": 400, "detail": "items[3].settings.base_url: is not https",
        "errors": [{"pointer": "#/items/3/settings/base_url", "detail": "is not https"}],
    });
    assert_eq!(body, expected);
    let pointer = |field: &str| Problem::from(Refusal::invalid(field, "is wrong")).errors[0].pointer.clone();
    assert_eq!(pointer("settings.a~b/c"), "#/settings/a~0b~1c");
    let (status, headers, body) = answered(Problem::unauthorized()).await;
    assert_eq!((status, &headers["www-authenticate"], body.get("errors")), (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("Bearer"), None));
    let (status, headers, _) = answered(Problem::busy()).await;
    assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from_static("1")));
    for (refusal, status) in [
        (Refusal::NotFound, 404),
        (Refusal::Forbidden { permission: "a:b" }, 403),
        (Refusal::AlreadyExists, 409),
        (Refusal::NameTaken { by: StreamId(*b"0123456789abcdef") }, 409),
        (Refusal::InvalidState("is off".into()), 422),
        (Refusal::Conflict { actual: Version(7) }, 412),
        (Refusal::CommandReused, 422),
        (Refusal::Limit { what: "keys", limit: 20 }, 422),
        (Refusal::Shredded, 410),
    ] {
        let problem = Problem::from(refusal);
        assert_eq!(problem.status, status, "{problem:?}");
        assert!(!problem.detail.contains("30313233"), "the holder of a name is not told");
    }
    assert_eq!(Problem::from(BodyError::TooLarge(9)).status, 413);
    assert_eq!(Problem::from(BodyError::Aborted).status, 408);
    assert_eq!(Problem::from(shape("", "has the wrong type")).errors[0].pointer, "#");
}
