//! Every command of every kind, once: what is made and changed, and how it goes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::all_kinds_life::{CLIENTS, Life, OWN_APPLICATIONS, Things, fetched, lost, text};

const TOKEN: &str = "/v1/oauth/token";
const FIRST: &str = "the first password of all";
const SECOND: &str = "the second password of all";

/// Makes and changes one thing of each sort, and leaves it there.
pub async fn live(life: &mut Life, tag: &'static str) -> Things {
    let login = format!("ann-{tag}");
    let password = format!("{SECOND} {tag}");
    let mut things = Things { tag, by_prefix: BTreeMap::new(), credentials: Vec::new(), connection: String::new(), user: String::new(), login, password };
    members(life, &mut things).await;
    sessions(life, &things).await;
    api_keys(life, &mut things).await;
    application(life, &mut things).await;
    api_client(life, &mut things).await;
    user_applications(life, &mut things).await;
    provider_keys(life, &mut things).await;
    webhook(life, &mut things).await;
    connections(life, &mut things).await;
    integration(life, &mut things).await;
    tenant(life, &mut things).await;
    crate::all_kinds_back::back(life, &mut things).await;
    for wrong in ["wrong five", "wrong six"] {
        life.refused("", "POST", "/v1/sessions", json!({"login": things.login, "password": wrong})).await;
    }
    let vault = std::sync::Arc::clone(&life.running.as_ref().unwrap().vault);
    vault.write_usage().await.unwrap();
    vault.write_denials().await;
    life.note();
    things
}

async fn members(life: &mut Life, things: &mut Things) {
    let tag = things.tag;
    let role = text(&life.ask("POST", "/v1/roles", json!({"name": format!("Night {tag}"), "permissions": ["users:read", "custom:x"]})).await["id"]);
    let permissions = json!(["user-applications:own", "users:write", "custom:y"]);
    life.ask("PATCH", &format!("/v1/roles/{role}"), json!({"name": format!("Day {tag}"), "permissions": permissions})).await;
    let organization = text(&life.ask("POST", "/v1/organizations", json!({"name": format!("Acme {tag}")})).await["id"]);
    life.ask("PATCH", &format!("/v1/organizations/{organization}"), json!({"name": format!("Acme Ltd {tag}")})).await;
    let first = format!("{FIRST} {tag}");
    let body = json!({"login": things.login, "email": "ann@example.com", "roles": ["reader", role], "password": first});
    things.user = text(&life.ask("POST", "/v1/users", body).await["id"]);
    let path = format!("/v1/users/{}", things.user);
    life.ask("PATCH", &path, json!({"name": "Ann", "email": null, "blocked": true})).await;
    life.ask("PATCH", &path, json!({"blocked": false})).await;
    life.secrets.extend([first, things.password.clone()]);
    things.by_prefix.extend([("/v1/roles", role), ("/v1/organizations", organization), ("/v1/users", things.user.clone())]);
}

async fn log_in(life: &mut Life, things: &Things, password: &str) -> String {
    let body = json!({"login": things.login, "password": password});
    text(&life.ask_as("", "acme-a", "POST", "/v1/sessions", body).await["token"])
}

async fn sessions(life: &mut Life, things: &Things) {
    let (first, second) = (format!("{FIRST} {}", things.tag), things.password.clone());
    let path = format!("/v1/users/{}", things.user);
    let of_first = log_in(life, things, &first).await;
    life.ask_as(&of_first, "acme-a", "PUT", "/v1/users/me/password", json!({"password": second, "current_password": first})).await;
    log_in(life, things, &second).await;
    life.ask("POST", &format!("{path}/sign-out"), Value::Null).await;
    let ended = log_in(life, things, &second).await;
    life.ask_as(&ended, "acme-a", "DELETE", "/v1/sessions/current", Value::Null).await;
    // A door that was tried and opened anew, and one that is still counting.
    for wrong in ["wrong one", "wrong two"] {
        life.refused("", "POST", "/v1/sessions", json!({"login": things.login, "password": wrong})).await;
    }
    life.ask("POST", &format!("{path}/unlock"), Value::Null).await;
    life.refused("", "POST", "/v1/sessions", json!({"login": things.login, "password": "wrong three"})).await;
    let denied = log_in(life, things, &second).await;
    life.refused(&denied, "GET", "/v1/tenants", Value::Null).await;
    life.refused("", "POST", "/v1/sessions", json!({"login": things.login, "password": "wrong four"})).await;
    // Tokens of a session: one revoked, one refreshed, and one whose refresh token was used twice.
    let grant = json!({"grantType": "password", "username": things.login, "password": second});
    let revoked = life.ask_as("", "acme-a", "POST", "/api/v1/token", grant.clone()).await;
    life.revoke(&revoked["accessToken"]).await;
    let made = life.ask_as("", "acme-a", "POST", "/api/v1/token", grant.clone()).await;
    let refresh = |of: &Value| json!({"grantType": "refresh_token", "refreshToken": of["refreshToken"]});
    life.ask_as("", "acme-a", "POST", "/api/v1/token", refresh(&made)).await;
    life.refused("", "POST", "/api/v1/token", refresh(&made)).await;
    let stands = life.ask_as("", "acme-a", "POST", "/api/v1/token", grant).await;
    life.ask_as("", "acme-a", "POST", "/api/v1/token", refresh(&stands)).await;
}

/// Rotations of an issued secret, finished, taken back and under way; gives the present secrets.
async fn rotate(life: &mut Life, id: &str) -> Value {
    let path = format!("/v1/credentials/{id}");
    let rotate = format!("{path}/rotate");
    life.ask("POST", &rotate, json!({"grace_seconds": 600})).await;
    life.ask("POST", &format!("{path}/rotation/finish"), Value::Null).await;
    life.ask("POST", &rotate, json!({"grace_seconds": 600})).await;
    life.ask("POST", &format!("{path}/rotation/take-back"), Value::Null).await;
    life.ask("POST", &rotate, Value::Null).await;
    life.ask("POST", &rotate, json!({"grace_seconds": 600})).await
}

async fn api_keys(life: &mut Life, things: &mut Things) {
    let (tag, organization) = (things.tag, things.by_prefix["/v1/organizations"].clone());
    let body = json!({
        "name": format!("key {tag}"), "owner": things.user, "permissions": ["keys:verify", "custom:z"], "organizations": [organization],
        "dns_name": format!("host-{tag}"), "emails": ["ops@example.com"], "labels": ["x"], "app_ids": ["app"]
    });
    let made = life.ask("POST", "/v1/api-keys", body).await;
    let (id, number) = (text(&made["api_key"]["id"]), made["api_key"]["number"].to_string());
    life.ask("PATCH", &format!("/v1/api-keys/{id}"), json!({"labels": ["y"], "dns_name": format!("host-2-{tag}"), "expires_at": "2999-01-01T00:00:00Z"})).await;
    life.ask_as(&text(&made["token"]), "acme-a", "GET", "/v1/me", Value::Null).await;
    rotate(life, &id).await;
    let rec = json!({"name": format!("rec {tag}"), "emails": [], "organizationsIds": [], "permissions": ["editLabels"]});
    let rec = life.ask("POST", "/api-keys", rec).await["id"].to_string();
    life.ask("PATCH", &format!("/api-keys/{rec}"), json!({"refreshApiToken": true, "blocked": true})).await;
    let position = life.ask("GET", "/v1/events?kind=api_key&limit=1", Value::Null).await["data"][0]["position"].to_string();
    things.credentials.push(id.clone());
    things.by_prefix.extend([("/v1/api-keys", id), ("/api-keys", number), ("/v1/events", position)]);
}

async fn application(life: &mut Life, things: &mut Things) {
    let made = life.ask("POST", "/v1/applications", json!({"name": format!("billing {}", things.tag), "roles": ["reader"]})).await;
    let (id, secret) = (text(&made["application"]["id"]), text(&made["client_secret"]));
    life.ask("PATCH", &format!("/v1/applications/{id}"), json!({"permissions": ["audit:read"], "app_ids": ["app"]})).await;
    let grant = [("grant_type", "client_credentials")];
    let token = life.form(TOKEN, Some((&id, &secret)), &grant).await.1;
    life.revoke(&token["access_token"]).await;
    life.form(TOKEN, Some((&id, &secret)), &grant).await;
    let secret = text(&rotate(life, &id).await["secret"]);
    assert_eq!(life.form(TOKEN, Some((&id, &secret)), &grant).await.0, 200);
    things.credentials.push(id.clone());
    things.by_prefix.insert("/v1/applications", id);
}

async fn api_client(life: &mut Life, things: &mut Things) {
    let tag = things.tag;
    let id = text(&life.ask("POST", CLIENTS, json!({"name": format!("deployer {tag}")})).await["id"]);
    let path = format!("{CLIENTS}/{id}");
    let shown = life.ask("GET", &path, Value::Null).await;
    let roles = json!([{"id": "6b65796c-6564-6765-722f-726561646572"}]);
    life.ask("PUT", &path, json!({"name": format!("deployer 2 {tag}"), "roles": roles})).await;
    let token = "/auth/api/v1/oauth/clientcredentials/privx-external/token";
    let grant = |secret: &Value| json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let revoked = life.ask_as("", "acme-a", "POST", token, grant(&shown["secret"])).await;
    life.revoke(&revoked["access_token"]).await;
    let made = life.ask_as("", "acme-a", "POST", token, grant(&shown["secret"])).await;
    let (client, secret, refresh) = (format!("oauth-{id}"), text(&shown["oauth_client_secret"]), text(&made["refresh_token"]));
    let again = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    assert_eq!(life.form("/auth/api/v1/oauth/token", Some((&client, &secret)), &again).await.0, 200);
    assert_eq!(life.form("/auth/api/v1/oauth/token", Some((&client, &secret)), &again).await.0, 400, "used twice");
    life.ask("POST", &format!("{path}/rotate"), json!({"grace_seconds": 60})).await;
    let plain = id.replace('-', "");
    let rotated = rotate(life, &plain).await;
    life.ask_as("", "acme-a", "POST", token, grant(&rotated["secret"])).await;
    things.credentials.push(plain);
    things.by_prefix.insert(CLIENTS, id);
}

async fn user_applications(life: &mut Life, things: &mut Things) {
    let session = log_in(life, things, &things.password).await;
    // One of ann's, that goes with her, and one of the owner's.
    let made = life.ask_as(&session, "acme-a", "POST", OWN_APPLICATIONS, json!({"name": format!("of-ann-{}", things.tag)})).await;
    let grant = |id: &Value, secret: &Value| json!({"grantType": "client_credentials", "clientId": id, "clientSecret": secret});
    life.ask_as("", "acme-a", "POST", "/api/v1/token", grant(&made["id"], &made["secret"])).await;
    let made = life.ask("POST", OWN_APPLICATIONS, json!({"name": format!("of-owner-{}", things.tag)})).await;
    let (id, path) = (text(&made["id"]), format!("{OWN_APPLICATIONS}/{}", text(&made["id"])));
    let secret = life.ask("POST", &format!("{path}/secret"), Value::Null).await["secret"].clone();
    let token = life.ask_as("", "acme-a", "POST", "/api/v1/token", grant(&made["id"], &secret)).await;
    life.revoke(&token["accessToken"]).await;
    let plain = id.replace('-', "");
    let secret = rotate(life, &plain).await["secret"].clone();
    life.ask_as("", "acme-a", "POST", "/api/v1/token", grant(&made["id"], &secret)).await;
    things.credentials.push(plain);
    things.by_prefix.extend([(OWN_APPLICATIONS, id.clone()), ("/api/v1/administration/user-applications", id)]);
}

/// Reveals a secret of the latest credential of a kind; gives the credential's id.
async fn reveal(life: &mut Life, kind: &str) -> String {
    let all = life.ask("GET", &format!("/v1/credentials?kind={kind}&limit=200"), Value::Null).await;
    let latest = all["data"].as_array().unwrap().last().unwrap().clone();
    let request = json!({"credential": latest["id"], "secret": latest["secrets"][0]["name"], "reason": "a test"});
    let shown = life.ask("POST", "/v1/secrets/reveal", request).await;
    life.secrets.push(text(&shown["value"]));
    text(&latest["id"])
}

async fn provider_keys(life: &mut Life, things: &mut Things) {
    let key = |name: &str| json!({"api_key": format!("sk-proj-{name}-{}-qzxwvkj", things.tag)});
    life.secrets.extend(["one", "two", "three"].map(|name| text(&key(name)["api_key"])));
    let body = |name: &str| json!({"user": things.login, "open_AI": key(name), "groq": key(name)});
    life.ask("POST", "/external_provider/api_key/create", body("one")).await;
    life.ask("POST", "/external_provider/api_key/create", body("two")).await;
    life.ask("POST", "/external_provider/api_key/update", body("three")).await;
    things.credentials.push(reveal(life, "provider_key").await);
}

async fn webhook(life: &mut Life, things: &mut Things) {
    // Nobody listens there.
    let url = "http://127.0.0.1:1/hook";
    let made = life.ask("POST", "/v1/webhooks", json!({"url": url, "description": things.tag})).await;
    let id = text(&made["webhook"]["id"]);
    let path = format!("/v1/webhooks/{id}");
    let rotated = life.ask("POST", &format!("{path}/rotate"), Value::Null).await;
    life.secrets.extend([text(&made["secret"]), text(&rotated["secret"])]);
    life.ask("POST", &format!("{path}/test"), Value::Null).await;
    let position = life.ask("GET", &path, Value::Null).await["delivery"]["through"].as_u64().unwrap() + 1;
    life.told(&id, position).await;
    life.ask("POST", &format!("{path}/replay"), json!({"positions": [position]})).await;
    life.ask("POST", &format!("{path}/replay"), json!({"from": position})).await;
    life.told(&id, position).await;
    life.gone(&id).await;
    life.ask("PATCH", &path, json!({"enabled": true, "events": ["vault.connection.created"]})).await;
    things.by_prefix.insert("/v1/webhooks", id);
}

async fn connections(life: &mut Life, things: &mut Things) {
    let consumer = format!("acme-{}", things.tag);
    let owner = life.token.clone();
    let secrets = ["access", "refresh", "setting", "fetched"].map(|name| format!("{name}-qzxwvkj-{}", things.tag));
    life.secrets.extend(secrets.clone());
    let mut connector = life.ask("GET", "/v1/connectors/hris/personio", Value::Null).await["connector"].clone();
    connector["oauth"]["token_url"] = json!("http://127.0.0.1:1/token");
    connector["name"] = json!(format!("Personio {}", things.tag));
    life.ask("PUT", "/v1/connectors/hris/personio", connector).await;
    life.ask("POST", "/vault/consumers", json!({"consumer_id": consumer, "metadata": {"a": 1}})).await;
    life.ask("PATCH", &format!("/vault/consumers/{consumer}"), json!({"metadata": {"a": things.tag}})).await;
    let (pipedrive, personio) = ("/vault/connections/crm/pipedrive", "/vault/connections/hris/personio");
    let body = json!({"credentials": {"access_token": secrets[0], "refresh_token": secrets[1]}});
    life.ask_as(&owner, &consumer, "POST", &format!("{pipedrive}/import"), body).await;
    life.ask_as(&owner, &consumer, "PATCH", pipedrive, json!({"enabled": false, "settings": {"client_secret": secrets[2]}})).await;
    life.ask_as(&owner, &consumer, "PATCH", pipedrive, json!({"enabled": true, "metadata": {"plan": "e"}})).await;
    life.ask_as(&owner, &consumer, "POST", &format!("{pipedrive}/validate"), Value::Null).await;
    life.ask_as(&owner, &consumer, "POST", personio, json!({"settings": {"client_id": "an id", "client_secret": secrets[2]}})).await;
    life.exchange(&consumer, || fetched(&secrets[3])).await;
    life.exchange(&consumer, lost).await;
    crate::all_kinds_oauth::lead(life, &format!("late-{}", things.tag)).await;
    let refused = life.request(life.running.as_ref().unwrap(), &owner, "POST", &format!("{personio}/token"), &consumer);
    assert_eq!(life.send(refused).await.0, 422, "the guard lets no call through");
    let connection = reveal(life, "connection").await;
    things.connection.clone_from(&connection);
    things.credentials.push(connection);
    things.by_prefix.extend([("/vault/consumers", consumer)]);
}

async fn integration(life: &mut Life, things: &mut Things) {
    let (path, secrets) = ("/v1/integrations/hris/personio", ["one", "two"].map(|n| format!("the tenant's secret {n} {}", things.tag)));
    life.secrets.extend(secrets.clone());
    life.ask("PUT", path, json!({"settings": {"client_id": things.tag, "client_secret": secrets[0]}})).await;
    life.ask("PATCH", path, json!({"enabled": false, "settings": {"client_id": null}})).await;
    life.ask("PATCH", path, json!({"enabled": true, "settings": {"client_id": "an id", "client_secret": secrets[1]}})).await;
    let id = text(&life.ask("GET", path, Value::Null).await["id"]);
    life.ask("POST", "/v1/secrets/reveal", json!({"credential": id, "secret": "settings.client_secret", "reason": "a test"})).await;
    if things.tag == "a" {
        things.credentials.push(id);
    }
}

async fn tenant(life: &mut Life, things: &mut Things) {
    let name = format!("tenant-{}", things.tag);
    let begun = life.ask("POST", "/v1/tenants", json!({"name": name})).await;
    life.ask_as(&text(&begun["owner_token"]), "acme-a", "POST", "/v1/organizations", json!({"name": "Elsewhere"})).await;
    life.ask("POST", &format!("/v1/tenants/{name}/suspend"), Value::Null).await;
    life.ask("POST", &format!("/v1/tenants/{name}/resume"), Value::Null).await;
    things.by_prefix.insert("/v1/tenants", name);
}

/// All of it goes.
pub async fn end(life: &mut Life, things: &Things) {
    let at = |prefix: &str| format!("{prefix}/{}", things.by_prefix[prefix]);
    let (owner, consumer) = (life.token.clone(), format!("acme-{}", things.tag));
    life.refused("", "POST", "/v1/sessions", json!({"login": things.login, "password": "wrong seven"})).await;
    life.refused("", "POST", "/v1/sessions", json!({"login": things.login, "password": "wrong eight"})).await;
    life.ask_as(&owner, &consumer, "DELETE", "/vault/connections/crm/pipedrive", Value::Null).await;
    life.ask("DELETE", &at("/vault/consumers"), Value::Null).await;
    life.ask("POST", "/external_provider/api_key/delete", json!({"user": things.login, "open_AI": true})).await;
    life.ask("DELETE", &at("/api/v1/administration/user-applications"), Value::Null).await;
    life.ask("DELETE", &at(CLIENTS), Value::Null).await;
    life.ask("DELETE", &at("/v1/applications"), Value::Null).await;
    life.ask("DELETE", "/v1/integrations/hris/personio", Value::Null).await;
    life.ask("DELETE", &at("/api-keys"), Value::Null).await;
    // What is left of hers goes with her: sessions, an application, a key at a provider.
    life.ask("DELETE", &at("/v1/users"), Value::Null).await;
    life.ask("DELETE", &at("/v1/webhooks"), Value::Null).await;
    life.ask("DELETE", &at("/v1/organizations"), Value::Null).await;
    life.ask("DELETE", &at("/v1/roles"), Value::Null).await;
    life.ask("POST", &format!("{}/suspend", at("/v1/tenants")), Value::Null).await;
    let vault = std::sync::Arc::clone(&life.running.as_ref().unwrap().vault);
    vault.write_usage().await.unwrap();
    vault.write_denials().await;
    life.note();
}
