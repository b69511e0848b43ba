//! The provider keys surface over HTTP: each endpoint, member and error.

use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::served::{Server, client, start};
use crate::served_bench::ServedBench;

const CREATE: &str = "/external_provider/api_key/create";
const UPDATE: &str = "/external_provider/api_key/update";
const DELETE: &str = "/external_provider/api_key/delete";
const VERBS: [&str; 3] = [CREATE, UPDATE, DELETE];
const BAD_TOKEN: &str = "Invalid Authentication, Incorrect API key provided or organization";
const PROVIDERS: [&str; 7] = ["open_AI", "anthropic", "google", "azure_open_AI", "mistral", "cohere", "groq"];

/// Status, body and position of an answer, which must be JSON that nobody keeps.
fn read(answer: Response) -> (u16, Value, Option<u64>) {
    let headers = answer.headers().clone();
    assert_eq!((&headers["content-type"], &headers["cache-control"]), (&"application/json".parse().unwrap(), &"no-store".parse().unwrap()));
    let position = headers.get("keyledger-position").map(|position| position.to_str().unwrap().parse().unwrap());
    let (status, body) = (answer.status().as_u16(), answer.json::<Value>().unwrap());
    assert!(!body.to_string().contains("canary"), "no answer holds a key: {body}");
    assert_eq!(body.is_string(), status != 200, "errors are strings: {status} {body}");
    (status, body, position)
}

fn send(server: &Server, path: &str, body: &Value) -> (u16, Value, Option<u64>) {
    read(server.call("POST", path).json(body).send().unwrap())
}

/// The metadata of an answer that is no error.
fn ok(server: &Server, path: &str, body: &Value) -> Value {
    let (status, answer, position) = send(server, path, body);
    assert!(status == 200 && position.is_some(), "{body}: {answer}");
    answer["metadata"].clone()
}

fn head(server: &Server) -> u64 {
    server.call("GET", "/v1/events?limit=1").send().unwrap().json::<Value>().unwrap()["position"].as_u64().unwrap()
}

#[test]
fn a_key_is_made_replaced_whole_merged_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let key = json!({"user": "owner", "open_AI": {"api_key": "sk-canary-one-1234", "organization_key": "org-1", "api_key_name": "laptop"}});
    let made = ok(&server, CREATE, &key);
    assert_eq!(made["open_AI"], json!({"api_key": "sk-…1234", "organization_key": "org-1", "api_key_name": "laptop"}));
    assert_eq!(made.as_object().unwrap().len(), 2, "only the user and what is there: {made}");
    // By id as well, and by login in any letter case.
    for user in [made["global_id"].as_str().unwrap(), "OWNER"] {
        assert_eq!(ok(&server, DELETE, &json!({"user": user})), made);
    }
    let merged = ok(&server, UPDATE, &json!({"user": "owner", "open_AI": {"api_key": "sk-canary-two-5678"}}));
    assert_eq!(merged["open_AI"], json!({"api_key": "sk-…5678", "organization_key": "org-1", "api_key_name": "laptop"}));
    let less = ok(&server, UPDATE, &json!({"user": "owner", "open_AI": {"organization_key": null, "api_key_name": "desk"}}));
    assert_eq!(less["open_AI"], json!({"api_key": "sk-…5678", "api_key_name": "desk"}));
    // The mask that was shown, sent back, leaves the key as it is.
    let before = head(&server);
    assert_eq!(ok(&server, UPDATE, &json!({"user": "owner", "open_AI": less["open_AI"]})), less);
    assert_eq!(head(&server), before, "nothing was written");
    let whole = ok(&server, CREATE, &json!({"user": "owner", "open_AI": {"api_key": "canary-three"}}));
    assert_eq!(whole["open_AI"], json!({"api_key": "…hree"}), "what is not given is gone");
    assert_eq!(ok(&server, CREATE, &json!({"user": "owner", "open_AI": {"api_key": "short"}}))["open_AI"], json!({"api_key": "…"}));
    for no in [json!(false), Value::Null] {
        assert_eq!(ok(&server, DELETE, &json!({"user": "owner", "open_AI": no, "groq": true}))["open_AI"], json!({"api_key": "…"}));
    }
    assert_eq!(ok(&server, DELETE, &json!({"user": "owner", "open_AI": true})), json!({"global_id": made["global_id"]}));
    let before = head(&server);
    assert_eq!(ok(&server, DELETE, &json!({"user": "owner", "open_AI": true})), json!({"global_id": made["global_id"]}), "gone already");
    assert_eq!(ok(&server, UPDATE, &json!({"user": "owner", "open_AI": {"api_key_name": null}})), json!({"global_id": made["global_id"]}));
    assert_eq!(head(&server), before, "nothing was written");
    let types: Vec<Value> = history(&server);
    assert_eq!(types, ["created", "updated", "updated", "replaced", "replaced", "deleted"]);
    assert_eq!(ok(&server, UPDATE, &json!({"user": "owner", "open_AI": {"api_key": "sk-canary-four-9"}}))["open_AI"], json!({"api_key": "sk-…ur-9"}));
}

/// The types of all events of provider keys, oldest first; none of them holds a key.
fn history(server: &Server) -> Vec<Value> {
    let events = server.call("GET", "/v1/events?kind=provider_key&order=asc&limit=200").send().unwrap().json::<Value>().unwrap();
    assert!(!events.to_string().contains("canary"), "{events}");
    events["data"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect()
}

#[test]
fn several_providers_at_once_are_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let mut body = json!({"user": "owner"});
    for provider in PROVIDERS {
        body[provider] = json!({"api_key": format!("sk-canary-{provider}-0000"), "api_key_name": provider});
    }
    let before = head(&server);
    let made = ok(&server, CREATE, &body);
    assert_eq!(head(&server), before + 7);
    for provider in PROVIDERS {
        assert_eq!(made[provider], json!({"api_key": "sk-…0000", "api_key_name": provider}));
    }
    let before = head(&server);
    // The last one is wrong: none is written.
    for wrong in [json!({"api_key": ""}), json!({"api_key_name": "a\u{0}b"}), json!({"organization_key": "x".repeat(256)})] {
        let (status, text, _) = send(&server, UPDATE, &json!({"user": "owner", "open_AI": {"api_key": "sk-canary-new-0001"}, "groq": wrong}));
        assert!(status == 400 && text.as_str().unwrap().starts_with("groq."), "{status} {text}");
    }
    assert_eq!(head(&server), before);
    let rest = ok(&server, DELETE, &json!({"user": "owner", "open_AI": true, "mistral": true, "google": false}));
    assert!(rest["open_AI"].is_null() && rest["mistral"].is_null() && rest["google"].is_object());
    assert_eq!(head(&server), before + 2);
    // The past is still there, without the keys.
    let then = server.call("GET", &format!("/v1/credentials?kind=provider_key&as_of={before}")).send().unwrap().json::<Value>().unwrap();
    assert!(then["data"].as_array().unwrap().len() == 7 && !then.to_string().contains("canary"), "{then}");
}

#[test]
fn the_token_comes_in_either_header_and_authorization_counts() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let body = json!({"user": "owner", "open_AI": {"api_key": "sk-canary-one-1234"}});
    let bare = || client().post(format!("{}{CREATE}", server.base)).json(&body);
    let status = |request: RequestBuilder| {
        let (status, text, _) = read(request.send().unwrap());
        assert!(status == 200 || text == BAD_TOKEN, "{text}");
        status
    };
    let token = &server.token;
    assert_eq!(status(bare().bearer_auth(token)), 200);
    assert_eq!(status(bare().header("x-application-id", token)), 200);
    assert_eq!(status(bare().header("x-application-id", token).bearer_auth(token)), 200);
    assert_eq!(status(bare().header("x-application-id", "app").bearer_auth(token)), 200, "an application's id beside a token is no token");
    assert_eq!(status(bare()), 401);
    for malformed in ["", "Bearer", "Bearer ", "Basic eA==", "Bearer a b", "token"] {
        assert_eq!(status(bare().header("x-application-id", token).header("authorization", malformed)), 401, "{malformed}");
    }
    assert_eq!(status(bare().header("x-application-id", token).bearer_auth("klkey_wrong")), 401);
    for wrong in ["", "app", &token.to_uppercase(), &format!("Bearer {token}"), "9a1b2c3d-0000-4000-8000-000000000000"] {
        assert_eq!(status(bare().header("x-application-id", wrong)), 401, "{wrong}");
    }
    assert_eq!(status(bare().header("x-application-id", token).header("x-application-id", token)), 401, "twice");
    let challenge = bare().send().unwrap();
    assert_eq!(challenge.headers()["www-authenticate"], "Bearer");
    // A token that lacks the permission is told so before its body is read.
    let key = json!({"name": "reader", "emails": [], "organizationsIds": [], "permissions": ["api-keys:read"]});
    let made = server.call("POST", "/api-keys").json(&key).send().unwrap().json::<Value>().unwrap();
    for verb in VERBS {
        let request = client().post(format!("{}{verb}", server.base)).bearer_auth(made["token"]["value"].as_str().unwrap()).body("canary");
        assert_eq!(read(request.send().unwrap()).0, 403);
    }
}

#[test]
fn wrong_bodies_are_refused_and_nothing_of_them_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let before = head(&server);
    let wrong = [
        json!({}),
        json!({"user": null}),
        json!({"user": 1}),
        json!({"user": "owner", "canary": "x"}),
        json!({"user": "owner", "cloud_key": "canary"}),
        json!({"user": "owner", "open_AI": "sk-canary"}),
        json!({"user": "owner", "open_AI": ["sk-canary"]}),
        json!({"user": "owner", "open_AI": {"api_key": 1}}),
        json!({"user": "owner", "open_AI": {"api_key": "sk canary"}}),
        json!({"user": "owner", "open_AI": {"api_key": "sk-canary\n"}}),
        json!({"user": "owner", "open_AI": {"api_key": "sk-…canary"}}),
        json!({"user": "owner", "open_AI": {"canary": "x"}}),
        json!({"user": "owner", "open_AI": {"api_key_name": ""}}),
        json!({"user": "owner", "schema": {"semantic": "canary"}}),
        json!({"user": "owner", "schema": {"migration": "canary"}}),
        json!({"user": "owner", "schema": {"migration": 1, "canary": 1}}),
        json!([]),
        json!("canary"),
    ];
    for body in wrong {
        for verb in [CREATE, UPDATE] {
            assert_eq!(send(&server, verb, &body).0, 400, "{verb} {body}");
        }
    }
    assert_eq!(send(&server, CREATE, &json!({"user": "owner", "open_AI": {}})).0, 400, "a key of nothing");
    assert_eq!(send(&server, CREATE, &json!({"user": "owner", "open_AI": {"api_key": null, "api_key_name": null}})).0, 400);
    let (status, text, _) = send(&server, UPDATE, &json!({"user": "owner", "groq": {"api_key": null}}));
    assert_eq!((status, text), (400, json!("groq.api_key: is not removed by null: delete the key")));
    for body in [json!({"user": "owner", "open_AI": {"api_key": "canary"}}), json!({"user": "owner", "open_AI": "true"}), json!({"user": "owner", "x": true})] {
        assert_eq!(send(&server, DELETE, &body).0, 400, "{body}");
    }
    for verb in VERBS {
        let raw = |body: String| read(server.call("POST", verb).body(body).send().unwrap());
        assert_eq!(raw(String::new()).0, 400, "a client that sends nothing");
        assert_eq!(raw(" \n".into()).0, 400);
        assert_eq!(raw("{\"user\": \"owner\", \"user\": \"canary\"}".into()).0, 400, "twice");
        assert_eq!(raw("{\"user\": \"canary".into()).0, 400);
        assert_eq!(raw(format!("{{\"user\": \"{}\"}}", "canary".repeat(12_000))).0, 413);
        assert_eq!(read(server.call("POST", verb).header("if-match", "\"1\"").json(&json!({"user": "owner"})).send().unwrap()).0, 412);
        assert_eq!(read(server.call("POST", verb).header("idempotency-key", "a b").json(&json!({"user": "owner"})).send().unwrap()).0, 400);
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            assert_eq!(read(server.call(method, verb).send().unwrap()).0, 404, "{method}");
        }
    }
    for path in ["/external_provider", "/external_provider/", "/external_provider/api_key", "/external_provider/api_key/create/", "/external_provider/x"] {
        assert_eq!(read(server.call("POST", path).send().unwrap()).0, 404, "{path}");
    }
    assert_eq!(head(&server), before);
}

#[test]
fn the_vendors_schema_is_told_back_and_a_repeat_gives_the_first_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    for (sent, told) in [("MAJOR_0_MINOR_0_PATCH_1", "MAJOR_0_MINOR_0_PATCH_1"), ("UNKNOWN", "UNKNOWN"), ("MAJOR_9", "UNKNOWN")] {
        let body = json!({"user": "owner", "schema": {"migration": 3, "semantic": sent}, "open_AI": {"api_key": "sk-canary-1234", "schema": {"migration": 1}}});
        let (_, answer, _) = send(&server, CREATE, &body);
        assert_eq!(answer["schema"], json!({"migration": 3, "semantic": told}));
        assert!(answer["metadata"]["open_AI"]["schema"].is_null());
    }
    assert!(send(&server, DELETE, &json!({"user": "owner", "schema": null})).1.get("schema").is_none());
    let send_as = |key: &str, verb: &str, body: &Value| read(server.call("POST", verb).header("idempotency-key", key).json(body).send().unwrap());
    let first = json!({"user": "owner", "cohere": {"api_key": "canary-of-cohere"}});
    let answer = send_as("one", CREATE, &first);
    ok(&server, UPDATE, &json!({"user": "owner", "cohere": {"api_key_name": "later"}}));
    assert_eq!(send_as("one", CREATE, &first), answer, "as it was answered first");
    assert_eq!(send_as("one", CREATE, &json!({"user": "owner", "cohere": {"api_key": "canary-of-another"}})).0, 422);
    assert_eq!(send_as("one", UPDATE, &json!({"user": "owner", "cohere": {"api_key": "canary-of-another"}})).0, 200, "of another route");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_another_tenant_is_as_unknown_as_nobody() {
    let bench = ServedBench::start().await;
    let (other, ann) = (bench.tenant("acme").await, bench.user("ann").await);
    let write = async |token: &str, user: &str| {
        let body = json!({"user": user, "open_AI": {"api_key": "sk-canary-one-1234"}});
        let mut came = Vec::new();
        for verb in [CREATE, UPDATE] {
            came.push(bench.send(token, "POST", verb, body.clone()).await);
        }
        came.push(bench.send(token, "POST", DELETE, json!({"user": user, "open_AI": true})).await);
        came
    };
    let nobody = write(&bench.token, "nobody").await;
    assert!(nobody.iter().all(|came| came.status == 401 && came.body.as_str().unwrap().starts_with("Invalid Authentication, user")));
    for (token, user) in [(&other, ann.to_string()), (&other, "ann".into()), (&bench.token, String::new()), (&bench.token, "x".repeat(300))] {
        assert_eq!(write(token, &user).await, nobody, "{user}");
    }
    // An id of something that is no user.
    assert_eq!(write(&bench.token, &bench.owner.id.to_string()).await, nobody);
    assert!(write(&bench.token, "ann").await.iter().all(|came| came.status == 200));
    // Both tenants have an owner; each writes its own.
    let both = [bench.send(&other, "POST", DELETE, json!({"user": "owner"})).await, bench.own("POST", DELETE, json!({"user": "owner"})).await];
    assert!(both[0].status == 200 && both[1].status == 200 && both[0].body != both[1].body);
    // A deleted user is nobody.
    bench.execute(|given| keyledger::vault::plans::delete_user(given, &bench.owner, ann, None)).await;
    assert_eq!(write(&bench.token, &ann.to_string()).await, nobody);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creates_of_one_key_all_succeed_and_leave_one() {
    let bench = ServedBench::start().await;
    let ann = bench.user("ann").await;
    let create = async |number: usize| {
        let body =
            json!({"user": "ann", "groq": {"api_key": format!("canary-of-groq-{number:04}")}, "google": {"api_key": format!("canary-of-google-{number:04}")}});
        bench.own("POST", CREATE, body).await.status
    };
    let all = futures_util::future::join_all((0..40).map(create)).await;
    assert!(all.iter().all(|status| *status == 200), "{all:?}");
    let views = bench.vault.views();
    let owned: Vec<_> = views.owned(ann, keyledger::credentials::Kind::ProviderKey).collect();
    assert_eq!(owned.len(), 2);
    // Both come from one request: the commands did not mix.
    let last = bench.own("POST", DELETE, json!({"user": "ann"})).await.body["metadata"].clone();
    let end = |provider: &str| last[provider]["api_key"].as_str().unwrap().chars().rev().take(4).collect::<String>();
    assert_eq!(end("groq"), end("google"));
}
