//! The API clients surface over HTTP: what each route takes, answers and refuses, and where a secret may stand.

use keyledger::kernel::{Builtin, RoleRef};
use keyledger::vault::plans;
use serde_json::{Value, json};

use crate::served_vault::{ServedBench, Told};

const CLIENTS: &str = "/local-user-store/api/v1/api-clients";
const MASK: &str = "********";

fn id_of(role: RoleRef) -> String {
    role.id().uuid()
}

fn reader() -> RoleRef {
    RoleRef::Builtin(Builtin::Reader)
}

async fn create(bench: &ServedBench, token: &str, body: Value) -> String {
    let made = bench.call(token, "POST", CLIENTS, body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body.as_object().unwrap().len(), 1, "the id and nothing else");
    made.text("id")
}

fn code(told: &Told, status: u16) -> &str {
    assert_eq!(told.status, status, "{}", told.body);
    told.body["error_code"].as_str().unwrap()
}

fn names(page: &Told) -> Vec<&str> {
    assert_eq!(page.status, 200, "{}", page.body);
    page.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_lives_as_the_vendors_clients_expect() {
    let bench = ServedBench::new().await;
    let token = bench.token.clone();
    let role = bench.role("Deployers", &["connections:read"]).await;
    let id = create(
        &bench,
        &token,
        json!({"name": "deployer", "roles": [{"id": id_of(reader()), "name": "passed over"}, {"id": id_of(role)}, {"id": id_of(role)}]}),
    )
    .await;
    let path = format!("{CLIENTS}/{id}");
    let got = bench.call(&token, "GET", &path, Value::Null).await;
    assert_eq!((got.status, got.header("etag")), (200, "\"1\""));
    let body = got.body.clone();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members.len(), 10, "{members:?}");
    assert_eq!((&body["id"], &body["name"]), (&json!(id), &json!("deployer")));
    assert_eq!(body["roles"], json!([{"id": id_of(reader()), "name": "reader"}, {"id": id_of(role), "name": "Deployers"}]));
    assert_eq!(body["oauth_client_id"], format!("oauth-{id}"));
    assert!(got.text("secret").starts_with("klcli_") && got.text("oauth_client_secret").starts_with("kloac_"));
    assert_eq!((&body["author"], &body["updated_by"]), (&json!(bench.owner.id.uuid()), &json!(bench.owner.id.uuid())));
    assert_eq!(body["created"], body["updated"]);
    // The whole object goes back, as the vendor's Go client sends it; the secrets in it change nothing.
    bench.clock.pass(5000);
    let mut whole = body.clone();
    (whole["name"], whole["roles"], whole["secret"], whole["oauth_client_secret"]) = (json!("deployer 2"), Value::Null, json!(MASK), json!("mine"));
    let put = bench.call(&token, "PUT", &path, whole).await;
    assert_eq!((put.status, &put.body), (200, &Value::Null));
    let changed = bench.call(&token, "GET", &path, Value::Null).await;
    assert_eq!((&changed.body["name"], &changed.body["roles"]), (&json!("deployer 2"), &json!([])));
    assert_eq!((&changed.body["secret"], &changed.body["oauth_client_secret"]), (&body["secret"], &body["oauth_client_secret"]));
    assert!(changed.text("updated") > changed.text("created"));
    assert_eq!(put.header("etag"), changed.header("etag"));
    // However the id is written.
    for spelling in [id.to_uppercase(), id.replace('-', "")] {
        assert_eq!(bench.call(&token, "GET", &format!("{CLIENTS}/{spelling}"), Value::Null).await.status, 200);
    }
    let gone = bench.call(&token, "DELETE", &path, Value::Null).await;
    assert_eq!((gone.status, &gone.body), (200, &Value::Null));
    for method in ["GET", "DELETE"] {
        assert_eq!(code(&bench.call(&token, method, &path, Value::Null).await, 404), "OBJECT_NOT_FOUND");
    }
    assert_eq!(code(&bench.call(&token, "PUT", &path, json!({"name": "x"})).await, 404), "OBJECT_NOT_FOUND");
    assert_eq!(code(&bench.call(&token, "POST", &format!("{path}/rotate"), Value::Null).await, 404), "OBJECT_NOT_FOUND");
    // As it was, without its secrets.
    let position = changed.header("keyledger-position");
    let past = bench.call(&token, "GET", &format!("{path}?as_of={position}"), Value::Null).await;
    assert_eq!(
        (past.status, &past.body["name"], &past.body["secret"], &past.body["oauth_client_secret"]),
        (200, &json!("deployer 2"), &json!(MASK), &json!(MASK))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stand_in_one_answer_only_and_after_an_event() {
    let bench = ServedBench::new().await;
    let token = bench.token.clone();
    let id = create(&bench, &token, json!({"name": "one", "roles": [{"id": id_of(reader())}]})).await;
    let path = format!("{CLIENTS}/{id}");
    let before = bench.vault.views().position();
    let shown = bench.call(&token, "GET", &path, Value::Null).await;
    let secrets = [shown.text("secret"), shown.text("oauth_client_secret")];
    assert_eq!(bench.vault.views().position().0, before.0 + 1);
    assert_eq!(shown.header("keyledger-position"), (before.0 + 1).to_string());
    let event = bench.call(&token, "GET", &format!("/v1/events/{}", before.0 + 1), Value::Null).await;
    assert!(event.body.to_string().contains("revealed"), "{}", event.body);
    assert_eq!(shown.header("etag"), "\"1\"", "a look is no change");
    // Whoever may not see them, sees masks, and no event says otherwise.
    let (_, reads) = bench.user("reader", &[reader()], None).await;
    let masked = bench.call(&reads, "GET", &path, Value::Null).await;
    assert_eq!((masked.status, &masked.body["secret"], &masked.body["oauth_client_secret"]), (200, &json!(MASK), &json!(MASK)));
    // So does who may see secrets, but not of a client that may do more.
    let role = bench.role("Revealers", &["api-clients:read", "api-clients:reveal"]).await;
    let (_, reveals) = bench.user("revealer", &[role], None).await;
    let masked = bench.call(&reveals, "GET", &path, Value::Null).await;
    assert_eq!((masked.status, &masked.body["secret"]), (200, &json!(MASK)));
    let bare = create(&bench, &token, json!({"name": "bare"})).await;
    assert!(bench.call(&reveals, "GET", &format!("{CLIENTS}/{bare}"), Value::Null).await.text("secret").starts_with("klcli_"));
    let position = bench.vault.views().position().0;
    let mut told = String::new();
    for other in [CLIENTS.to_owned(), format!("{CLIENTS}?sortkey=name"), format!("{path}?as_of={position}"), format!("{CLIENTS}?as_of={position}")] {
        told += &bench.call(&token, "GET", &other, Value::Null).await.body.to_string();
    }
    told += &bench.call(&token, "POST", &format!("{CLIENTS}/search"), json!({"keywords": "one"})).await.body.to_string();
    told += &bench.all_that_is_told().await;
    told += &bench.call(&token, "PUT", &path, json!({"name": "other", "secret": secrets[0]})).await.body.to_string();
    assert!(told.contains(MASK) && told.contains(&secrets[0][..14]), "what may be shown of a secret is");
    for secret in secrets {
        let tail = secret.rsplit('_').nth(1).unwrap();
        assert!(!told.contains(tail), "a secret stands where it should not");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_paged_and_searched() {
    let bench = ServedBench::new().await;
    let token = bench.token.clone();
    let (_, second) = bench.user("second", &[RoleRef::Builtin(Builtin::Admin)], None).await;
    let list = async |query: &str| bench.call(&token, "GET", &format!("{CLIENTS}{query}"), Value::Null).await;
    assert_eq!(list("").await.body, json!({"count": 0, "items": []}));
    let mut ids = Vec::new();
    for (name, by) in [("beta prod", &token), ("Alpha PROD", &second), ("gamma test", &token), ("alpha test", &second)] {
        bench.clock.pass(1000);
        ids.push(create(&bench, by, json!({"name": name})).await);
    }
    bench.clock.pass(1000);
    assert_eq!(bench.call(&second, "PUT", &format!("{CLIENTS}/{}", ids[0]), json!({"name": "beta  prod"})).await.status, 200);
    let made = ["beta  prod", "Alpha PROD", "gamma test", "alpha test"];
    for query in ["", "?sortkey=", "?sortkey=created", "?sortkey=created&sortdir=ASC", "?sortdir=asc"] {
        assert_eq!(names(&list(query).await), made, "{query}");
    }
    assert_eq!(names(&list("?sortdir=Desc").await), ["alpha test", "gamma test", "Alpha PROD", "beta  prod"]);
    assert_eq!(names(&list("?sortkey=name").await), ["Alpha PROD", "alpha test", "beta  prod", "gamma test"]);
    assert_eq!(names(&list("?sortkey=name&sortdir=DESC").await), ["gamma test", "beta  prod", "alpha test", "Alpha PROD"]);
    assert_eq!(names(&list("?sortkey=updated").await), ["Alpha PROD", "gamma test", "alpha test", "beta  prod"]);
    for key in ["id", "oauth_client_id", "author", "updated_by"] {
        let page = list(&format!("?sortkey={key}")).await;
        let values: Vec<&str> = page.body["items"].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap()).collect();
        assert!(values.is_sorted() && values.len() == 4, "{key} {values:?}");
    }
    let page = list("?sortkey=name&offset=1&limit=2").await;
    assert_eq!((names(&page), &page.body["count"]), (vec!["alpha test", "beta  prod"], &json!(4)));
    let past_the_end = list("?offset=99999999999999").await;
    assert_eq!((names(&past_the_end).len(), &past_the_end.body["count"]), (0, &json!(4)));
    assert_eq!(names(&list("?limit=200").await).len(), 4);
    for (query, property) in
        [("sortkey=secret", "sortkey"), ("sortdir=up", "sortdir"), ("limit=0", "limit"), ("limit=201", "limit"), ("limit=-1", "limit"), ("offset=x", "offset")]
    {
        let refused = list(&format!("?{query}")).await;
        assert_eq!((code(&refused, 400), &refused.body["property"]), ("INVALID_REQUEST_DATA", &json!(property)), "{query}");
    }
    let search = async |body: Value| bench.call(&token, "POST", &format!("{CLIENTS}/search"), body).await;
    assert_eq!(names(&search(json!({"keywords": "", "sortdir": "", "sortkey": ""})).await), made);
    assert_eq!(names(&search(json!({"keywords": null, "sortdir": null, "sortkey": null, "limit": null, "offset": null, "unknown": 1})).await), made);
    assert_eq!(names(&search(Value::Null).await), made);
    assert_eq!(names(&search(json!({"keywords": "prod"})).await), ["beta  prod", "Alpha PROD"]);
    assert_eq!(names(&search(json!({"keywords": "alpha,TEST"})).await), ["alpha test"]);
    assert_eq!(names(&search(json!({"keywords": " lph ,\ttes  "})).await), ["alpha test"]);
    assert_eq!(names(&search(json!({"keywords": "alpha beta"})).await).len(), 0);
    let page = search(json!({"keywords": "a", "sortkey": "name", "sortdir": "desc", "limit": 1, "offset": 1})).await;
    assert_eq!((names(&page), &page.body["count"]), (vec!["beta  prod"], &json!(4)));
    assert_eq!(code(&search(json!({"keywords": 7})).await, 400), "INVALID_REQUEST_DATA");
    assert_eq!(code(&search(json!({"keywords": "a ".repeat(33)})).await, 400), "INVALID_REQUEST_DATA");
    assert_eq!(code(&search(json!({"sortkey": "x"})).await, 400), "INVALID_REQUEST_DATA");
    // Deleted ones are in no list of the present, and in those of the past.
    let position = bench.vault.views().position().0;
    assert_eq!(bench.call(&token, "DELETE", &format!("{CLIENTS}/{}", ids[1]), Value::Null).await.status, 200);
    assert_eq!(names(&list("").await), ["beta  prod", "gamma test", "alpha test"]);
    assert_eq!(names(&list(&format!("?as_of={position}")).await), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_those_of_the_tenant_and_no_more_than_the_caller_has() {
    let bench = ServedBench::new().await;
    let token = bench.token.clone();
    let role = bench.role("Passing", &["connections:read"]).await;
    let RoleRef::Own(role_id) = role else { panic!() };
    let unknown = "00112233-4455-6677-8899-aabbccddeeff";
    for roles in
        [json!([{"id": unknown}]), json!([{"id": "x"}]), json!([{"id": id_of(reader())}, {"id": ""}]), json!([[unknown]]), json!("x"), json!([{"id": 7}])]
    {
        let refused = bench.call(&token, "POST", CLIENTS, json!({"name": "n", "roles": roles})).await;
        assert_eq!((code(&refused, 400), &refused.body["property"]), ("INVALID_REQUEST_DATA", &json!("roles")), "{roles}");
    }
    let missing = bench.call(&token, "POST", CLIENTS, json!({"name": "n", "roles": [{}]})).await;
    assert_eq!((code(&missing, 400), &missing.body["property"]), ("REQUIRED_VALUE_MISSING", &json!("roles")));
    assert_eq!(missing.body["details"][0]["property"], "roles[0].id");
    let id = create(&bench, &token, json!({"name": "n", "roles": [{"id": id_of(role)}]})).await;
    let path = format!("{CLIENTS}/{id}");
    // A role that goes stays with the client as deleted, may be sent back, and may not be given anew.
    bench.execute(|given| plans::delete_role(given, &bench.owner, role_id, None)).await;
    let mut got = bench.call(&token, "GET", &path, Value::Null).await.body;
    assert_eq!(got["roles"], json!([{"id": id_of(role), "name": "Passing", "deleted": true}]));
    got["name"] = json!("renamed");
    assert_eq!(bench.call(&token, "PUT", &path, got.clone()).await.status, 200);
    assert_eq!(bench.call(&token, "GET", &path, Value::Null).await.body["roles"], got["roles"]);
    assert_eq!(code(&bench.call(&token, "POST", CLIENTS, json!({"name": "m", "roles": got["roles"]})).await, 400), "INVALID_REQUEST_DATA");
    // Nobody gives, changes, rotates or deletes what may do more than they may.
    let (_, operator) = bench.user("operator", &[RoleRef::Builtin(Builtin::Operator)], None).await;
    let owner = json!([{"id": id_of(RoleRef::Builtin(Builtin::Owner))}]);
    let strong = create(&bench, &token, json!({"name": "strong", "roles": owner})).await;
    let strong = format!("{CLIENTS}/{strong}");
    for (method, path, body) in [
        ("POST", CLIENTS.to_owned(), json!({"name": "m", "roles": owner})),
        ("PUT", path.clone(), json!({"name": "m", "roles": owner})),
        ("PUT", strong.clone(), json!({"name": "m"})),
        ("DELETE", strong.clone(), Value::Null),
        ("POST", format!("{strong}/rotate"), Value::Null),
    ] {
        assert_eq!(code(&bench.call(&operator, method, &path, body).await, 403), "PERMISSION_DENIED", "{method} {path}");
    }
    let weak = create(&bench, &operator, json!({"name": "weak", "roles": [{"id": id_of(reader())}]})).await;
    assert_eq!(bench.call(&operator, "POST", &format!("{CLIENTS}/{weak}/rotate"), Value::Null).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_tenants_and_errors() {
    let bench = ServedBench::new().await;
    let token = bench.token.clone();
    let id = create(&bench, &token, json!({"name": "ours"})).await;
    let path = format!("{CLIENTS}/{id}");
    let (_, stranger) = bench.tenant("strangers").await;
    let nothing = bench.key(None, &["connections:read"]).await;
    let reads = bench.key(None, &["api-clients:read"]).await;
    let unknown = format!("{CLIENTS}/00112233-4455-6677-8899-aabbccddeeff");
    for (method, below, body) in [("GET", "", Value::Null), ("PUT", "", json!({"name": "x"})), ("DELETE", "", Value::Null), ("POST", "/rotate", Value::Null)] {
        let theirs = bench.call(&stranger, method, &format!("{path}{below}"), body.clone()).await;
        let missing = bench.call(&stranger, method, &format!("{unknown}{below}"), body.clone()).await;
        assert_eq!((code(&theirs, 404), &theirs.body), ("OBJECT_NOT_FOUND", &missing.body), "{method}{below}");
        assert_eq!(code(&bench.call(&nothing, method, &format!("{path}{below}"), body.clone()).await, 403), "PERMISSION_DENIED");
        if method != "GET" {
            assert_eq!(code(&bench.call(&reads, method, &format!("{path}{below}"), body.clone()).await, 403), "PERMISSION_DENIED");
        }
        let nobody = bench.call("klkey_wrong", method, &format!("{path}{below}"), body).await;
        assert_eq!((code(&nobody, 401), nobody.header("www-authenticate")), ("UNAUTHORIZED", "Bearer"));
    }
    assert_eq!(bench.call(&stranger, "GET", CLIENTS, Value::Null).await.body["count"], 0);
    assert_eq!(bench.call(&reads, "GET", &path, Value::Null).await.status, 200);
    assert_eq!(code(&bench.call(&nothing, "GET", CLIENTS, Value::Null).await, 403), "PERMISSION_DENIED");
    assert_eq!(code(&bench.call(&nothing, "POST", &format!("{CLIENTS}/search"), Value::Null).await, 403), "PERMISSION_DENIED");
    // Who may not is told so before the body is looked at.
    let request = bench.request("POST", CLIENTS).bearer_auth(&reads).body("no JSON");
    assert_eq!(code(&bench.send(request).await, 403), "PERMISSION_DENIED");
    for (method, body, expected) in [
        ("POST", r"{}", ("REQUIRED_VALUE_MISSING", Some("name"))),
        ("POST", "", ("REQUIRED_VALUE_MISSING", Some("name"))),
        ("POST", r#"{"name": null}"#, ("INVALID_REQUEST_DATA", Some("name"))),
        ("POST", r#"{"name": " canary"}"#, ("INVALID_REQUEST_DATA", Some("name"))),
        ("POST", r#"{"name": "a", "name": "canary"}"#, ("INVALID_REQUEST_DATA", Some("name"))),
        ("POST", r#"["canary"]"#, ("INVALID_REQUEST_DATA", None)),
        ("POST", r#"{"name": "canary""#, ("BAD_REQUEST", None)),
    ] {
        let refused = bench.send(bench.request(method, CLIENTS).bearer_auth(&token).body(body)).await;
        assert_eq!((code(&refused, 400), refused.body["property"].as_str()), expected, "{body}");
        assert!(!refused.body.to_string().contains("canary"), "{}", refused.body);
    }
    let large = bench.send(bench.request("POST", CLIENTS).bearer_auth(&token).body("x".repeat(70_000))).await;
    assert_eq!(code(&large, 413), "BAD_REQUEST");
    for (method, path) in [
        ("PATCH", path.as_str()),
        ("GET", "/local-user-store"),
        ("GET", "/local-user-store/api/v1/users"),
        ("GET", "/auth/api/v1/oauth/token"),
        ("POST", "/auth"),
    ] {
        assert_eq!(code(&bench.call(&token, method, path, Value::Null).await, 404), "OBJECT_NOT_FOUND", "{method} {path}");
    }
    assert_eq!(code(&bench.call(&token, "GET", &format!("{path}?as_of=yesterday"), Value::Null).await, 400), "BAD_REQUEST");
    assert_eq!(code(&bench.call(&reads, "GET", &format!("{path}?as_of=1"), Value::Null).await, 403), "PERMISSION_DENIED");
    let ahead = bench.vault.views().position().0 + 1;
    assert_eq!(bench.call(&token, "GET", &format!("{path}?min_position={ahead}"), Value::Null).await.header("retry-after"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_may_name_the_version_that_was_seen_and_be_sent_again() {
    let bench = ServedBench::new().await;
    let token = bench.token.clone();
    let send = async |method: &str, path: &str, headers: &[(&str, &str)], body: Value| {
        let request = bench.request(method, path).bearer_auth(&token);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        bench.send(if body.is_null() { request } else { request.json(&body) }).await
    };
    let again = [("idempotency-key", "k1")];
    let made = send("POST", CLIENTS, &again, json!({"name": "once"})).await;
    let same = send("POST", CLIENTS, &again, json!({"name": "once"})).await;
    assert_eq!((made.status, same.status, &made.body), (201, 201, &same.body));
    assert_eq!(bench.call(&token, "GET", CLIENTS, Value::Null).await.body["count"], 1);
    assert_eq!(code(&send("POST", CLIENTS, &again, json!({"name": "twice"})).await, 422), "CONFLICT");
    let path = format!("{CLIENTS}/{}", made.text("id"));
    assert_eq!(code(&send("PUT", &path, &[("if-match", "\"9\"")], json!({"name": "x"})).await, 412), "CONFLICT");
    let put = send("PUT", &path, &[("if-match", made.header("etag"))], json!({"name": "x"})).await;
    assert_eq!(put.status, 200);
    for (method, below) in [("DELETE", ""), ("POST", "/rotate")] {
        assert_eq!(code(&send(method, &format!("{path}{below}"), &[("if-match", made.header("etag"))], Value::Null).await, 412), "CONFLICT");
    }
    assert_eq!(code(&send("PUT", &path, &[("if-match", "*")], json!({"name": "x"})).await, 400), "BAD_REQUEST");
    // A rotation that is sent again shows the same secrets, and rotates once.
    let rotate = format!("{path}/rotate");
    let first = send("POST", &rotate, &[("idempotency-key", "k2")], json!({"grace_seconds": 60})).await;
    let second = send("POST", &rotate, &[("idempotency-key", "k2")], json!({"grace_seconds": 60})).await;
    assert_eq!((first.status, &first.body), (200, &second.body));
    assert_eq!(bench.call(&token, "GET", &path, Value::Null).await.body["secret"], first.body["secret"]);
    for bad in [json!({"grace_seconds": 30 * 24 * 3600 + 1}), json!({"grace_seconds": -1}), json!({"grace": 1})] {
        assert_eq!(code(&send("POST", &rotate, &[], bad).await, 400), "INVALID_REQUEST_DATA");
    }
    for grace in [60, 60] {
        assert_eq!(send("POST", &rotate, &[], json!({"grace_seconds": grace})).await.status, 200);
    }
    assert_eq!(code(&send("POST", &rotate, &[], json!({"grace_seconds": 60})).await, 409), "CONFLICT", "three earlier ones work still");
}
