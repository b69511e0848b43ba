//! Names that one thing has at a time, over HTTP: of two hundred that want one, one gets it; it is free when its bearer goes or takes another,
//! and a name that looks the same is the same. What the tests of the vendors' surfaces say already of new keys and new user applications is not
//! said again.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::served_vault::{ServedBench, Told};

const OWN_APPLICATIONS: &str = "/api/v1/user-applications";
const WANT: usize = 200;

/// A sort of thing with unique names.
struct Sort {
    path: &'static str,
    /// A body with this name.
    body: fn(&str) -> Value,
    /// The change to this name; `None` where there is none.
    rename: Option<fn(&str) -> Value>,
    /// The id in the answer to a create.
    id: fn(&Told) -> String,
    /// A name, one that looks the same and one that does not.
    names: (&'static str, &'static [&'static str], &'static str),
    /// What a taken name is answered with.
    taken: fn(&Told) -> bool,
    deletes: bool,
}

fn problem(told: &Told) -> bool {
    let is = told.status == 409 && told.body["type"] == "urn:keyledger:problem:name-taken" && told.headers["content-type"] == "application/problem+json";
    is && told.body["status"] == 409 && told.body["title"].is_string()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no id: {value}")).to_owned()
}

const NAMES: (&str, &[&str], &str) = ("Paypal", &["paypal", "PAYPAL", "P\u{430}yp\u{430}l", "p\u{430}y\u{440}al"], "Paypal 2");

fn members() -> Vec<Sort> {
    let logins: (&str, &[&str], &str) = ("ann.lee@example.com", &["Ann.Lee@example.com", "ANN.LEE@EXAMPLE.COM"], "ann-lee@example.com");
    vec![
        Sort {
            path: "/v1/users",
            body: |name| json!({"login": name}),
            rename: Some(|name| json!({"login": name})),
            id: |told| text(&told.body["id"]),
            names: logins,
            taken: problem,
            deletes: true,
        },
        Sort {
            path: "/v1/roles",
            body: |name| json!({"name": name, "permissions": []}),
            rename: Some(|name| json!({"name": name})),
            id: |told| text(&told.body["id"]),
            names: NAMES,
            taken: problem,
            deletes: true,
        },
        Sort {
            path: "/v1/organizations",
            body: |name| json!({"name": name}),
            rename: Some(|name| json!({"name": name})),
            id: |told| text(&told.body["id"]),
            names: NAMES,
            taken: problem,
            deletes: true,
        },
        Sort {
            path: "/v1/applications",
            body: |name| json!({"name": name}),
            rename: Some(|name| json!({"name": name})),
            id: |told| text(&told.body["application"]["id"]),
            names: NAMES,
            taken: problem,
            deletes: true,
        },
    ]
}

fn vendors_and_keys() -> Vec<Sort> {
    vec![
        Sort {
            path: "/v1/api-keys",
            body: |name| json!({"name": "a key", "dns_name": name}),
            rename: Some(|name| json!({"dns_name": name})),
            id: |told| text(&told.body["api_key"]["id"]),
            names: ("rec-01", &[], "rec-02"),
            taken: problem,
            deletes: true,
        },
        Sort {
            path: "/api-keys",
            body: |name| json!({"name": "a key", "dnsName": name, "emails": [], "organizationsIds": [], "permissions": []}),
            rename: Some(|name| json!({"dnsName": name})),
            id: |told| told.body["id"].to_string(),
            names: ("rec-11", &[], "rec-12"),
            taken: |told| told.body == json!({"statusCode": 409, "error": "Conflict", "message": "dnsName: another key has it"}),
            deletes: true,
        },
        Sort {
            path: OWN_APPLICATIONS,
            body: |name| json!({"name": name}),
            rename: None,
            id: |told| text(&told.body["id"]),
            names: ("an-app", &[], "an-app-2"),
            taken: |told| told.status == 409 && told.body["code"] == 409 && told.body["message"] == "Resource with this name already exists",
            deletes: true,
        },
        Sort {
            path: "/v1/tenants",
            body: |name| json!({"name": name}),
            rename: None,
            id: |told| text(&told.body["tenant"]["name"]),
            names: ("acme", &[], "acme-2"),
            taken: |told| told.status == 409 && told.body["type"] == "urn:keyledger:problem:already-exists",
            deletes: false,
        },
    ]
}

async fn make(bench: &ServedBench, sort: &Sort, name: &str) -> Told {
    bench.call(&bench.token, "POST", sort.path, (sort.body)(name)).await
}

async fn made(bench: &ServedBench, sort: &Sort, name: &str) -> String {
    let told = make(bench, sort, name).await;
    assert_eq!(told.status, 201, "{} {name:?}: {}", sort.path, told.body);
    (sort.id)(&told)
}

async fn taken(bench: &ServedBench, sort: &Sort, name: &str) {
    let told = make(bench, sort, name).await;
    assert!((sort.taken)(&told), "{} {name:?}: {} {}", sort.path, told.status, told.body);
}

async fn rename(bench: &ServedBench, sort: &Sort, id: &str, name: &str) -> Told {
    bench.call(&bench.token, "PATCH", &format!("{}/{id}", sort.path), sort.rename.unwrap()(name)).await
}

/// Those that got it, which must be one, while all others hear that it is taken.
fn one_of(sort: &Sort, all: &[Told], success: u16) {
    let winners = all.iter().filter(|told| told.status == success).count();
    let losers = all.iter().filter(|told| (sort.taken)(told)).count();
    let other = all.iter().find(|told| told.status != success && !(sort.taken)(told)).map(|told| (told.status, &told.body));
    assert_eq!((winners, losers), (1, all.len() - 1), "{}: {other:?}", sort.path);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_that_want_one_name_one_gets_it_and_it_is_free_when_that_one_goes() {
    let bench = ServedBench::new().await;
    for sort in members().into_iter().chain(vendors_and_keys()) {
        let (name, alike, other) = sort.names;
        if !["/api-keys", OWN_APPLICATIONS].contains(&sort.path) {
            let all = join_all((0..WANT).map(|_| make(&bench, &sort, name))).await;
            one_of(&sort, &all, 201);
            if !sort.deletes {
                continue;
            }
            let winner = all.iter().find(|told| told.status == 201).unwrap();
            bench.call(&bench.token, "DELETE", &format!("{}/{}", sort.path, (sort.id)(winner)), Value::Null).await;
        }
        let id = made(&bench, &sort, name).await;
        for alike in alike.iter().chain([&name]) {
            taken(&bench, &sort, alike).await;
        }
        made(&bench, &sort, other).await;
        let gone = bench.call(&bench.token, "DELETE", &format!("{}/{id}", sort.path), Value::Null).await;
        assert!([200, 204].contains(&gone.status), "{}", sort.path);
        made(&bench, &sort, alike.last().unwrap_or(&name)).await;
        taken(&bench, &sort, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_take_one_name_over_one_gets_it_and_its_old_name_is_free() {
    let bench = ServedBench::new().await;
    for sort in members().into_iter().chain(vendors_and_keys()).filter(|sort| sort.rename.is_some()) {
        let (name, alike, _) = sort.names;
        let first: Vec<String> = (0..50).map(|number| format!("{}-{number}", sort.path.replace('/', "x"))).collect();
        let ids = join_all(first.iter().map(|name| made(&bench, &sort, name))).await;
        // Renames and creates of the one name, all at once.
        let renames = join_all(ids.iter().map(|id| rename(&bench, &sort, id, name)));
        let creates = join_all((0..50).map(|_| make(&bench, &sort, name)));
        let (renames, creates) = futures_util::join!(renames, creates);
        let won = (renames.iter().filter(|told| told.status == 200).count(), creates.iter().filter(|told| told.status == 201).count());
        let lost = renames.iter().chain(&creates).filter(|told| (sort.taken)(told)).count();
        assert_eq!((won.0 + won.1, lost), (1, 99), "{}", sort.path);
        // Who got it by a rename left another name.
        let holder = match renames.iter().position(|told| told.status == 200) {
            Some(place) => {
                made(&bench, &sort, &first[place]).await;
                ids[place].clone()
            }
            None => (sort.id)(creates.iter().find(|told| told.status == 201).unwrap()),
        };
        taken(&bench, &sort, name).await;
        // Its own name in another spelling is no other one's; and what it leaves is free again.
        if let Some(alike) = alike.first() {
            assert_eq!(rename(&bench, &sort, &holder, alike).await.status, 200, "{}", sort.path);
            taken(&bench, &sort, name).await;
        }
        let left = &format!("left{}", sort.path.replace('/', "-"));
        assert_eq!(rename(&bench, &sort, &holder, left).await.status, 200);
        let id = made(&bench, &sort, name).await;
        let refused = rename(&bench, &sort, &id, left).await;
        assert!((sort.taken)(&refused), "{}: {} {}", sort.path, refused.status, refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_and_a_connection_that_many_make_at_once_are_made_once() {
    let bench = ServedBench::new().await;
    let with = |method: &str, path: &str, body: Value| {
        let request = bench.request(method, path).bearer_auth(&bench.token).header("x-apideck-app-id", "app").header("x-apideck-consumer-id", "acme");
        bench.send(if body.is_null() { request } else { request.json(&body) })
    };
    let pipedrive = "/vault/connections/crm/pipedrive";
    let all = join_all((0..WANT).map(|number| async move {
        match number % 2 {
            0 => with("POST", "/vault/consumers", json!({"consumer_id": "acme"})).await,
            _ => with("POST", &format!("{pipedrive}/import"), json!({"credentials": {"access_token": format!("token {number}")}})).await,
        }
    }))
    .await;
    // The vendor's create changes what is there, so that nobody conflicts.
    assert!(all.iter().all(|told| told.status == 200), "{:?}", all.iter().map(|told| told.status).collect::<Vec<_>>());
    let count =
        async |query: &str| bench.call(&bench.token, "GET", &format!("/v1/events?limit=200&{query}"), Value::Null).await.body["data"].as_array().unwrap().len();
    assert_eq!((count("kind=consumer&type=created").await, count("kind=connection&type=created").await), (1, 1));
    assert_eq!(with("DELETE", pipedrive, Value::Null).await.status, 204);
    assert_eq!(with("DELETE", "/vault/consumers/acme", Value::Null).await.status, 200);
    assert_eq!(with("POST", "/vault/consumers", json!({"consumer_id": "acme"})).await.status, 200);
    assert_eq!(count("kind=consumer&type=created").await, 2, "it is made anew");
}
