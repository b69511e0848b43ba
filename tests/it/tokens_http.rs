//! The token endpoints of both vendors over HTTP: grants, errors, waits, and what ends a token at the very next request.

use keyledger::credentials::user::Changes;
use keyledger::kernel::{Builtin, RoleRef};
use keyledger::vault::plans;
use serde_json::{Value, json};

use crate::served_vault::{ServedBench, Told};
use crate::vault_bench::TENANT;

const CLIENTS: &str = "/local-user-store/api/v1/api-clients";
const FORM: &str = "/auth/api/v1/oauth/token";
const JSON: &str = "/auth/api/v1/oauth/clientcredentials/privx-external/token";
const TOKEN: &str = "/api/v1/token";
const APPS: &str = "/api/v1/user-applications";

/// An API client: its id, its secret, its OAuth client id and secret.
struct Pairs {
    path: String,
    id: String,
    secret: String,
    oauth: (String, String),
}

async fn pairs(bench: &ServedBench) -> Pairs {
    let reader = json!([{"id": RoleRef::Builtin(Builtin::Reader).id().uuid()}]);
    let id = bench.call(&bench.token, "POST", CLIENTS, json!({"name": "a client", "roles": reader})).await.text("id");
    let path = format!("{CLIENTS}/{id}");
    let got = bench.call(&bench.token, "GET", &path, Value::Null).await;
    Pairs { path, id, secret: got.text("secret"), oauth: (got.text("oauth_client_id"), got.text("oauth_client_secret")) }
}

async fn form(bench: &ServedBench, basic: Option<(&str, &str)>, members: &[(&str, &str)]) -> Told {
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(members).finish();
    let request = bench.request("POST", FORM).header("content-type", "application/x-www-form-urlencoded").body(text);
    bench
        .send(match basic {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        })
        .await
}

async fn password(bench: &ServedBench, of: &Pairs) -> Told {
    let members = [("grant_type", "password"), ("username", of.id.as_str()), ("password", of.secret.as_str())];
    form(bench, Some((&of.oauth.0, &of.oauth.1)), &members).await
}

async fn refresh(bench: &ServedBench, of: &Pairs, token: &str) -> Told {
    form(bench, Some((&of.oauth.0, &of.oauth.1)), &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

fn error(told: &Told, status: u16) -> &str {
    assert_eq!(told.status, status, "{}", told.body);
    assert!(told.body["error_description"].is_string());
    told.body["error"].as_str().unwrap()
}

async fn opens(bench: &ServedBench, token: &str) -> bool {
    bench.call(token, "GET", CLIENTS, Value::Null).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_tokens_for_both_of_its_pairs() {
    let bench = ServedBench::new().await;
    let (one, other) = (pairs(&bench).await, pairs(&bench).await);
    let told = password(&bench, &one).await;
    assert_eq!((told.status, &told.body["token_type"], &told.body["expires_in"]), (200, &json!("bearer"), &json!(300)));
    assert_eq!(told.body.as_object().unwrap().len(), 5);
    assert!(told.text("scope").split(' ').any(|name| name == "api-clients:read"), "{}", told.body);
    assert!(opens(&bench, &told.text("access_token")).await);
    assert_eq!(bench.call(&told.text("access_token"), "POST", CLIENTS, json!({"name": "x"})).await.status, 403, "as its roles permit");
    assert!(!opens(&bench, &told.text("refresh_token")).await, "a refresh token is no access token");
    // Both, of one client, each in its place.
    let grant = ("grant_type", "password");
    let basic = Some((one.oauth.0.as_str(), one.oauth.1.as_str()));
    for (basic, username, secret) in [
        (None, &one.id, &one.secret),
        (basic, &other.id, &other.secret),
        (basic, &other.id, &one.secret),
        (basic, &one.id, &one.oauth.1),
        (Some((one.oauth.0.as_str(), other.oauth.1.as_str())), &one.id, &one.secret),
        (Some((one.id.as_str(), one.oauth.1.as_str())), &one.id, &one.secret),
        (Some(("oauth-x", one.oauth.1.as_str())), &one.id, &one.secret),
    ] {
        let refused = form(&bench, basic, &[grant, ("username", username), ("password", secret)]).await;
        assert_eq!((error(&refused, 401), refused.header("www-authenticate")), ("invalid_client", "Basic realm=\"keyledger\""));
        bench.clock.pass(70_000);
    }
    assert_eq!(password(&bench, &one).await.status, 200);
    // A request that is no request.
    for members in [&[][..], &[("grant_type", "")], &[grant], &[grant, ("username", "x")], &[grant, grant], &[("grant_type", "refresh_token")]] {
        assert_eq!(error(&form(&bench, basic, members).await, 400), "invalid_request", "{members:?}");
    }
    assert_eq!(error(&form(&bench, basic, &[("grant_type", "authorization_code")]).await, 400), "unsupported_grant_type");
    let large = bench.send(bench.request("POST", FORM).body("x".repeat(70_000))).await;
    assert_eq!(error(&large, 413), "invalid_request");
    // Narrowed, and so is what follows.
    let scoped = [grant, ("username", one.id.as_str()), ("password", one.secret.as_str()), ("scope", "connections:read")];
    let narrow = form(&bench, basic, &scoped).await;
    assert_eq!(narrow.body["scope"], "connections:read");
    assert!(!opens(&bench, &narrow.text("access_token")).await);
    let narrow = refresh(&bench, &one, &narrow.text("refresh_token")).await;
    assert_eq!(narrow.body["scope"], "connections:read");
    assert!(!opens(&bench, &narrow.text("access_token")).await);
    for scope in ["api-clients:write", "no:such", " "] {
        let scoped = [grant, ("username", one.id.as_str()), ("password", one.secret.as_str()), ("scope", scope)];
        assert_eq!(error(&form(&bench, basic, &scoped).await, 400), "invalid_scope");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_take_either_pair() {
    let bench = ServedBench::new().await;
    let one = pairs(&bench).await;
    let ask = async |id: &str, secret: &str| {
        bench.send(bench.request("POST", JSON).json(&json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret}))).await
    };
    for (id, secret) in [(&one.id, &one.secret), (&one.oauth.0, &one.oauth.1)] {
        let told = ask(id, secret).await;
        assert_eq!((told.status, &told.body["expires_in"]), (200, &json!(300)));
        assert!(opens(&bench, &told.text("access_token")).await);
        let next = refresh(&bench, &one, &told.text("refresh_token")).await;
        assert!(opens(&bench, &next.text("access_token")).await);
    }
    for (id, secret) in [(&one.id, &one.oauth.1), (&one.oauth.0, &one.secret)] {
        assert_eq!(error(&ask(id, secret).await, 401), "invalid_client");
    }
    let elsewhere = bench.request("POST", &JSON.replace("privx-external", "elsewhere")).json(&json!({}));
    assert_eq!(error(&bench.send(elsewhere).await, 400), "invalid_request");
    for body in [r#"{"grant_type": "client_credentials"}"#, "", "canary", r#"{"grant_type": 1, "client_id": "a", "client_secret": "canary"}"#] {
        let refused = bench.send(bench.request("POST", JSON).body(body)).await;
        assert_eq!(error(&refused, 400), "invalid_request", "{body}");
        assert!(!refused.body.to_string().contains("canary"));
    }
    let other = json!({"grant_type": "password", "client_id": one.id, "client_secret": one.secret});
    assert_eq!(error(&bench.send(bench.request("POST", JSON).json(&other)).await, 400), "unsupported_grant_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_with_its_clients_proof() {
    let bench = ServedBench::new().await;
    let (one, other) = (pairs(&bench).await, pairs(&bench).await);
    let first = password(&bench, &one).await;
    let (access, token) = (first.text("access_token"), first.text("refresh_token"));
    assert_eq!(error(&refresh(&bench, &other, &token).await, 400), "invalid_grant", "another client's");
    assert_eq!(error(&form(&bench, None, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await, 401), "invalid_client");
    // The other vendor's door asks no client for a proof, and takes no such token.
    assert_eq!(bench.send(bench.request("POST", TOKEN).json(&json!({"grantType": "refresh_token", "refreshToken": token}))).await.status, 400);
    assert_eq!(error(&refresh(&bench, &one, &access).await, 400), "invalid_grant");
    let second = refresh(&bench, &one, &token).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert!(opens(&bench, &access).await && opens(&bench, &second.text("access_token")).await);
    assert_eq!(error(&refresh(&bench, &one, &token).await, 400), "invalid_grant");
    assert!(!opens(&bench, &access).await && !opens(&bench, &second.text("access_token")).await, "everything has ended");
    assert_eq!(error(&refresh(&bench, &one, &second.text("refresh_token")).await, 400), "invalid_grant");
    assert_eq!(password(&bench, &one).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_with_what_they_were_given_for() {
    let bench = ServedBench::new().await;
    let mut one = pairs(&bench).await;
    let access = async |of: &Pairs| password(&bench, of).await.text("access_token");
    let rotate = format!("{}/rotate", one.path);
    // At once.
    let token = access(&one).await;
    let new = bench.call(&bench.token, "POST", &rotate, Value::Null).await;
    assert!(!opens(&bench, &token).await);
    assert_eq!(error(&password(&bench, &one).await, 401), "invalid_client");
    (one.secret, one.oauth.1) = (new.text("secret"), new.text("oauth_client_secret"));
    // With an overlap: both work, also one of each, until it is finished.
    let token = access(&one).await;
    let new = bench.call(&bench.token, "POST", &rotate, json!({"grace_seconds": 600})).await;
    let newer = Pairs { secret: new.text("secret"), oauth: (one.oauth.0.clone(), new.text("oauth_client_secret")), path: one.path.clone(), id: one.id.clone() };
    let mixed = Pairs { secret: one.secret.clone(), oauth: newer.oauth.clone(), path: one.path.clone(), id: one.id.clone() };
    let newer_token = access(&newer).await;
    assert!(opens(&bench, &token).await && opens(&bench, &access(&one).await).await && opens(&bench, &access(&mixed).await).await);
    let own = format!("/v1/credentials/{}/rotation", one.id.replace('-', ""));
    assert_eq!(bench.call(&bench.token, "POST", &format!("{own}/finish"), Value::Null).await.status, 200);
    assert!(!opens(&bench, &token).await && opens(&bench, &newer_token).await);
    bench.clock.pass(20_000);
    assert_eq!(error(&password(&bench, &one).await, 401), "invalid_client");
    // Taken back: the newer one ends.
    let newest = bench.call(&bench.token, "POST", &rotate, json!({"grace_seconds": 600})).await;
    let newest =
        Pairs { secret: newest.text("secret"), oauth: (one.oauth.0.clone(), newest.text("oauth_client_secret")), path: one.path.clone(), id: one.id.clone() };
    let newest_token = access(&newest).await;
    assert_eq!(bench.call(&bench.token, "POST", &format!("{own}/take-back"), Value::Null).await.status, 200);
    assert!(!opens(&bench, &newest_token).await && opens(&bench, &newer_token).await);
    let shown = bench.call(&bench.token, "GET", &one.path, Value::Null).await;
    assert_eq!((shown.text("secret"), shown.text("oauth_client_secret")), (newer.secret.clone(), newer.oauth.1.clone()), "the present ones are shown");
    // Revoked, one by one.
    let (kept, revoked) = (access(&newer).await, access(&newer).await);
    bench.vault.revoke(&bench.owner, keyledger::credentials::Meta::default(), None, &revoked).await.unwrap();
    assert!(opens(&bench, &kept).await && !opens(&bench, &revoked).await);
    // Deleted.
    assert_eq!(bench.call(&bench.token, "DELETE", &one.path, Value::Null).await.status, 200);
    assert!(!opens(&bench, &kept).await);
    assert_eq!(error(&password(&bench, &newer).await, 401), "invalid_client");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_make_a_name_wait_and_the_answer_says_how_long() {
    let bench = ServedBench::new().await;
    let one = pairs(&bench).await;
    let wrong = async |id: &str, secret: &str| {
        form(&bench, Some((&one.oauth.0, &one.oauth.1)), &[("grant_type", "password"), ("username", id), ("password", secret)]).await
    };
    // Four tries of one wrong secret are one attempt: the vendors' clients try again by themselves.
    for _ in 0..8 {
        assert_eq!(error(&wrong(&one.id, "the same").await, 401), "invalid_client");
    }
    for secret in ["b", "c", "d"] {
        assert_eq!(error(&wrong(&one.id.to_uppercase(), secret).await, 401), "invalid_client");
    }
    let locked = password(&bench, &one).await;
    assert_eq!(error(&locked, 429), "temporarily_unavailable");
    assert!((1..=3).contains(&locked.header("retry-after").parse::<u64>().unwrap()));
    // Whatever door it knocks at, and however the id is written.
    for id in [one.id.clone(), one.id.replace('-', "").to_uppercase(), one.oauth.0.clone()] {
        let body = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": one.secret});
        assert_eq!(error(&bench.send(bench.request("POST", JSON).json(&body)).await, 429), "temporarily_unavailable");
    }
    assert_eq!(error(&refresh(&bench, &one, "x").await, 429), "temporarily_unavailable");
    bench.clock.pass(3000);
    assert_eq!(password(&bench, &one).await.status, 200);
    // The other vendor's door.
    let made = bench.call(&bench.token, "POST", APPS, json!({"name": "app"})).await;
    let ask = async |secret: &str| {
        bench.send(bench.request("POST", TOKEN).json(&json!({"grantType": "app_token", "AppId": made.text("id"), "AppSecret": secret}))).await
    };
    for secret in ["a", "a", "a", "a", "b", "c", "d"] {
        assert_eq!(ask(secret).await.status, 400, "{secret}");
    }
    let locked = ask(&made.text("secret")).await;
    assert_eq!((locked.status, &locked.body["code"]), (429, &json!(429)));
    assert!((1..=3).contains(&locked.header("retry-after").parse::<u64>().unwrap()));
    bench.clock.pass(3000);
    assert_eq!(ask(&made.text("secret")).await.status, 200);
}

async fn grant(bench: &ServedBench, body: &str) -> Told {
    bench.send(bench.request("POST", TOKEN).body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_token_request_are_read_in_any_letter_case() {
    let bench = ServedBench::new().await;
    let made = bench.call(&bench.token, "POST", APPS, json!({"name": "app"})).await;
    let (id, secret) = (made.text("id"), made.text("secret"));
    for (kind, name, value) in [
        ("app_token", "AppId", "AppSecret"),
        ("app_token", "appID", "appSecret"),
        ("client_credentials", "clientID", "clientSecret"),
        ("client_credentials", "clientId", "clientsecret"),
        ("client_credentials", "appId", "clientSecret"),
        ("app_token", "CLIENTID", "APPSECRET"),
    ] {
        let told =
            grant(&bench, &format!(r#"{{"GrantType": "{kind}", "{name}": "{id}", "{value}": "{secret}", "other": {{"x": 1}}, "username": null, "code": ""}}"#))
                .await;
        assert_eq!((told.status, &told.body["expiresIn"]), (200, &json!(3600)), "{}", told.body);
        assert_eq!(told.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["accessToken", "expiresIn"]);
        assert!(opens(&bench, &told.text("accessToken")).await);
    }
    let both = format!(r#"{{"grantType": "app_token", "clientID": "{id}", "appID": "{id}", "appSecret": "{secret}"}}"#);
    assert_eq!(grant(&bench, &both).await.status, 200, "twice the same");
    for (body, details) in [
        (format!(r#"{{"grantType": "app_token", "AppId": "{id}", "appID": "{id}", "appSecret": "{secret}"}}"#), "appID: is given twice, in two letter cases"),
        (format!(r#"{{"grantType": "app_token", "appID": "{id}", "appID": "{id}", "appSecret": "{secret}"}}"#), "appID: the body names this member twice"),
        (r#"{"grantType": "app_token", "appID": "a", "clientID": "b", "appSecret": "c"}"#.into(), "clientID: is given under two names with two values"),
        (r#"{"grantType": "app_token", "appID": "a"}"#.into(), "clientSecret: is missing"),
        (r#"{"grantType": "app_token", "appSecret": "a"}"#.into(), "clientID: is missing"),
        (r#"{"grantType": "password", "username": "owner", "password": ""}"#.into(), "password: is missing"),
        (r#"{"grantType": "refresh_token"}"#.into(), "refreshToken: is missing"),
        (r#"{"grantType": "exchange_token", "code": "canary"}"#.into(), "grantType: this grant is not served here"),
        (r#"{"grantType": "external_token_exchange"}"#.into(), "grantType: this grant is not served here"),
        (r#"{"grantType": "canary"}"#.into(), "grantType: is app_token, client_credentials, password or refresh_token"),
        (r#"{"grantType": null}"#.into(), "grantType: is missing"),
        (r#"{"grantType": {"canary": 1}}"#.into(), "grantType: has the wrong type"),
        ("{}".into(), "grantType: is missing"),
        (String::new(), "grantType: is missing"),
        ("canary".into(), "the body is not JSON"),
    ] {
        let refused = grant(&bench, &body).await;
        assert_eq!((refused.status, refused.text("details").as_str()), (400, details), "{body}");
        assert!(!refused.body.to_string().contains("canary"));
    }
    for wrong in
        [format!(r#""{id}", "appSecret": "x""#), format!(r#""{}", "appSecret": "{secret}""#, &id[1..]), format!(r#""{id}", "appSecret": "{}""#, bench.token)]
    {
        let refused = grant(&bench, &format!(r#"{{"grantType": "app_token", "appID": {wrong}}}"#)).await;
        assert_eq!((refused.status, refused.text("message").as_str()), (400, "Invalid credentials"), "400: the vendor documents no 401 here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_password_gives_tokens_and_a_refresh_token() {
    let bench = ServedBench::new().await;
    let auditor = [RoleRef::Builtin(Builtin::Auditor)];
    let (id, _) = bench.user("ann", &auditor, Some("correct horse battery")).await;
    let log_in = async |name: &str, password: &str| {
        grant(&bench, &json!({"grantType": "password", "clientID": "cli", "username": name, "password": password}).to_string()).await
    };
    let told = log_in("ann", "correct horse battery").await;
    assert_eq!(told.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["accessToken", "expiresIn", "refreshToken"]);
    let (access, token) = (told.text("accessToken"), told.text("refreshToken"));
    assert!(opens(&bench, &access).await && !opens(&bench, &token).await);
    assert_eq!(log_in("default/Ann", "correct horse battery").await.status, 200);
    for (name, password) in
        [("ann", "wrong horse battery"), ("strangers/ann", "correct horse battery"), ("system/ann", "correct horse battery"), ("nobody", "x")]
    {
        assert_eq!(log_in(name, password).await.status, 400, "{name}");
    }
    let renew = async |token: &str| grant(&bench, &json!({"grantType": "refresh_token", "refreshToken": token}).to_string()).await;
    let next = renew(&token).await;
    assert_eq!(next.body.as_object().unwrap().len(), 3);
    assert!(opens(&bench, &next.text("accessToken")).await);
    // The same one again ends this login, and no other.
    let other = log_in("ann", "correct horse battery").await.text("accessToken");
    assert_eq!(renew(&token).await.status, 400);
    assert!(!opens(&bench, &access).await && !opens(&bench, &next.text("accessToken")).await && opens(&bench, &other).await);
    assert_eq!(renew(&next.text("refreshToken")).await.status, 400);
    // What the user loses, the token loses: a block, a sign-out, the end.
    let told = log_in("ann", "correct horse battery").await;
    bench.change_user(id, Changes { blocked: Some(true), ..Changes::default() }).await;
    assert!(!opens(&bench, &told.text("accessToken")).await);
    assert_eq!(renew(&told.text("refreshToken")).await.status, 400);
    assert_eq!(log_in("ann", "correct horse battery").await.status, 400);
    bench.change_user(id, Changes { blocked: Some(false), ..Changes::default() }).await;
    assert!(opens(&bench, &told.text("accessToken")).await, "and has it again");
    bench.execute(|given| plans::sign_out(given, &bench.owner, id)).await;
    assert!(!opens(&bench, &told.text("accessToken")).await);
    let told = log_in("ann", "correct horse battery").await;
    bench.delete_user(id).await;
    assert!(!opens(&bench, &told.text("accessToken")).await);
    assert_eq!(renew(&told.text("refreshToken")).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_token_ends_with_its_user_its_tenant_and_itself() {
    let bench = ServedBench::new().await;
    let (id, ann) = bench.user("ann", &[RoleRef::Builtin(Builtin::Reader)], None).await;
    let made = bench.call(&ann, "POST", APPS, json!({"name": "app"})).await;
    let ask = async |secret: &str| grant(&bench, &json!({"grantType": "app_token", "AppId": made.text("id"), "AppSecret": secret}).to_string()).await;
    let token = ask(&made.text("secret")).await.text("accessToken");
    let blocked = async |blocked| bench.change_user(id, Changes { blocked: Some(blocked), ..Changes::default() }).await;
    blocked(true).await;
    assert!(!opens(&bench, &token).await);
    assert_eq!(ask(&made.text("secret")).await.status, 400);
    blocked(false).await;
    assert!(opens(&bench, &token).await);
    let path = format!("{APPS}/{}", made.text("id"));
    let new = bench.call(&ann, "POST", &format!("{path}/secret"), Value::Null).await.text("secret");
    assert!(!opens(&bench, &token).await);
    assert_eq!(ask(&made.text("secret")).await.status, 400);
    let token = ask(&new).await.text("accessToken");
    // Another tenant's application ends with its tenant's suspension.
    let (tenant, stranger) = bench.tenant("strangers").await;
    let theirs = bench.call(&stranger, "POST", APPS, json!({"name": "app"})).await;
    let body = json!({"grantType": "app_token", "AppId": theirs.text("id"), "AppSecret": theirs.text("secret")}).to_string();
    let their_token = grant(&bench, &body).await.text("accessToken");
    assert!(opens(&bench, &their_token).await);
    let system = keyledger::vault::access::Principal::vault(keyledger::kernel::TenantId::SYSTEM);
    let command = keyledger::vault::Command { principal: &system, meta: keyledger::credentials::Meta::default(), idempotency: None };
    bench.vault.execute(&command, |given| plans::set_suspended(given, TENANT, tenant, true)).await.unwrap();
    assert!(!opens(&bench, &their_token).await && opens(&bench, &token).await);
    assert_eq!(grant(&bench, &body).await.status, 400);
    assert_eq!(bench.call(&ann, "DELETE", &path, Value::Null).await.status, 204);
    assert!(!opens(&bench, &token).await);
    assert_eq!(ask(&new).await.status, 400);
    // An hour, to the second.
    let made = bench.call(&ann, "POST", APPS, json!({"name": "app"})).await;
    let body = json!({"grantType": "app_token", "AppId": made.text("id"), "AppSecret": made.text("secret")}).to_string();
    let token = grant(&bench, &body).await.text("accessToken");
    bench.clock.pass(3_599_000);
    assert!(opens(&bench, &token).await);
    bench.clock.pass(1000);
    assert!(!opens(&bench, &token).await);
    let token = grant(&bench, &body).await.text("accessToken");
    bench.delete_user(id).await;
    assert!(!opens(&bench, &token).await);
    assert_eq!(grant(&bench, &body).await.status, 400);
}
