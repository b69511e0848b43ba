//! A token that is narrowed to some permissions: it gives, makes and takes over nothing that has more.

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::members::{As, PASSWORD, owner};
use crate::served::{Server, client, start};

/// A token of the owner's application, narrowed to a scope.
fn narrowed<'a>(server: &'a Server, application: &Value, scope: &str) -> As<'a> {
    let part = |name: &str| application[name].as_str().unwrap().to_owned();
    let form = [("grant_type", "client_credentials".to_owned()), ("client_id", part("clientId")), ("client_secret", part("secret")), ("scope", scope.into())];
    let answer: Response = client().post(format!("{}/v1/oauth/token", server.base)).form(&form).send().unwrap();
    assert_eq!(answer.status(), 200);
    As { server, token: answer.json::<Value>().unwrap()["access_token"].as_str().unwrap().to_owned() }
}

#[test]
fn a_narrowed_token_makes_nothing_that_acts_as_its_user_without_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let owner = owner(&server);
    let application = owner.ok("POST", "/api/v1/user-applications", &json!({"name": "narrow"}));
    let me = owner.ok("GET", "/v1/me", &Value::Null);
    let key = json!({"name": "wide", "owner": me["user"], "permissions": []});
    let password = json!({"password": PASSWORD});
    let steps = [
        ("api-keys:write", "POST", "/v1/api-keys", &key),
        ("user-applications:own", "POST", "/api/v1/user-applications", &json!({"name": "wide"})),
        // The owner has none yet, so that none has to be told.
        ("keys:verify", "PUT", "/v1/users/me/password", &password),
    ];
    for (scope, method, path, body) in steps {
        let narrow = narrowed(&server, &application, scope);
        assert_eq!(narrow.ok("GET", "/v1/me", &Value::Null)["permissions"], json!([scope]));
        assert_eq!(narrow.status(method, path, body), 403, "{path}");
        assert!((200..300).contains(&owner.status(method, path, body)), "{path}: who holds all that the user holds may");
    }
    let mine = json!({"name": "mine", "permissions": ["api-keys:write"]});
    assert_eq!(narrowed(&server, &application, "api-keys:write").status("POST", "/v1/api-keys", &mine), 201);
}
