//! The page of a session as it is served: the same for every token, under a policy that lets nothing in, and whole.

use reqwest::blocking::Response;
use serde_json::json;

use crate::served::{Server, client, error, start, start_with};

const APP: &str = "https://app.example.com";

fn get(server: &Server, path: &str) -> Response {
    client().get(format!("{}{path}", server.base)).send().unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

/// What stands between quotes after each of these openings.
fn quoted<'a>(text: &'a str, openings: &[&str]) -> Vec<&'a str> {
    openings.iter().flat_map(|opening| text.split(*opening).skip(1).map(|rest| rest.split('"').next().unwrap())).collect()
}

#[test]
fn the_page_is_the_same_for_every_token_and_holds_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let made = server.ok("POST", "/vault/sessions", Some(json!({"consumer_metadata": {"user_name": "canary"}, "theme": {"vault_name": "canary"}})));
    let (uri, token) = (made["session_uri"].as_str().unwrap(), made["session_token"].as_str().unwrap());
    let page = client().get(uri).send().unwrap();
    assert_eq!((page.status().as_u16(), header(&page, "content-type")), (200, "text/html; charset=utf-8"));
    let text = page.text().unwrap();
    assert!(!text.contains(token) && !text.contains("canary"));
    for other in ["/session", "/session/canary", "/session/%3Cscript%3E", "/session/assets", &format!("/session/{token}?canary=%22%3E")] {
        assert_eq!(get(&server, other).text().unwrap(), text, "{other}");
    }
}

#[test]
fn the_page_runs_its_own_scripts_only_and_is_kept_and_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), "", &["--allow-origin", APP, "--allow-origin", "http://a;script-src"]);
    for path in ["/session", "/session/a.b.c"] {
        let page = client().get(format!("{}{path}", server.base)).header("origin", APP).send().unwrap();
        let policy = header(&page, "content-security-policy");
        let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
        for expected in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' https:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
            "frame-ancestors 'self' https://app.example.com",
        ] {
            assert!(directives.contains(&expected), "{expected}: {policy}");
        }
        assert_eq!(directives.len(), 10, "{policy}");
        let [cache, referrer, sniff] = ["cache-control", "referrer-policy", "x-content-type-options"].map(|name| header(&page, name));
        assert_eq!((cache, referrer, sniff), ("no-store", "no-referrer", "nosniff"));
        assert!(!page.headers().contains_key("access-control-allow-origin"), "no other page reads it");
        assert!(!page.headers().contains_key("set-cookie"));
    }
}

#[test]
fn nobody_but_this_server_embeds_the_page_unless_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    assert!(header(&get(&server, "/session"), "content-security-policy").ends_with("; frame-ancestors 'self'"));
}

#[test]
fn all_that_the_page_names_is_served_as_what_it_is_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "");
    let html = get(&server, "/session").text().unwrap();
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains(" on"), "nothing inline: the policy would stop it");
    assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=").count());
    let mut wanted: Vec<String> = quoted(&html, &["src=\"", "href=\""]).into_iter().map(str::to_owned).collect();
    assert_eq!(wanted.len(), 3, "{wanted:?}");
    let mut seen = Vec::new();
    while let Some(path) = wanted.pop() {
        let asset = get(&server, &path);
        assert_eq!(asset.status(), 200, "{path}");
        let kind = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!((header(&asset, "content-type"), header(&asset, "x-content-type-options")), (kind, "nosniff"), "{path}");
        assert_eq!(header(&asset, "cache-control"), "no-store");
        let text = asset.text().unwrap();
        for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "document.cookie"] {
            assert!(!text.contains(banned), "{path}: {banned}");
        }
        seen.push(path);
        let imports = quoted(&text, &["from \"./"]).into_iter().map(|name| format!("/session/assets/{name}"));
        let new: Vec<String> = imports.filter(|import| !seen.contains(import) && !wanted.contains(import)).collect();
        wanted.extend(new);
    }
    assert!(seen.len() > 3 && seen.contains(&"/session/assets/page.js".to_owned()), "{seen:?}");
    for none in ["/session/assets/", "/session/assets/nothing.js", "/session/assets/index.html", "/session/assets/..%2Fpage.rs", "/session/a/b", "/session/"] {
        assert_eq!(error(get(&server, none)), (404, "EntityNotFoundError".to_owned()), "{none}");
    }
    let head = client().head(format!("{}/session/a.b.c", server.base)).send().unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(header(&head, "content-length"), html.len().to_string());
    assert!(head.bytes().unwrap().is_empty());
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(error(client().request(method.parse().unwrap(), format!("{}/session/x", server.base)).send().unwrap()).0, 404, "{method}");
    }
}
