//! Real browsers for the tests: headless Chromium, moved by Playwright.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::running::{NODE_FOLDER, Running, client, source, start};

/// Chromium, and an application's page that users come back to.
pub struct Chromium {
    base: String,
    _server: Running,
    _folder: tempfile::TempDir,
}

/// Where a browser is.
pub struct Shown {
    /// What a script gave.
    pub gave: Value,
    pub url: String,
    /// The URLs that led there.
    pub way: Vec<String>,
    pub text: String,
}

impl Shown {
    /// What stands in the query of the page's URL under a name.
    pub fn query(&self, name: &str) -> String {
        let url = url::Url::parse(&self.url).unwrap();
        url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

impl Chromium {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("node");
        command.env("HOME", folder.path()).env("TMPDIR", folder.path());
        let (server, base, _) = start(command.arg(source("oauth/browser.mjs")).arg(&*NODE_FOLDER));
        Self { base, _server: server, _folder: folder }
    }

    /// The application's page.
    pub fn application(&self) -> String {
        format!("{}/done", self.base)
    }

    /// One that keeps its own cookies.
    pub fn browser(&self, name: &'static str) -> Browser<'_> {
        Browser { chromium: self, name }
    }
}

impl Drop for Chromium {
    /// It would outlive the process that moves it by a moment, and write where nothing is any more.
    fn drop(&mut self) {
        drop(client().post(format!("{}/close", self.base)).send());
    }
}

pub struct Browser<'a> {
    chromium: &'a Chromium,
    name: &'static str,
}

impl Browser<'_> {
    fn call(&self, call: &str, args: &Value) -> Shown {
        let request = client().post(format!("{}/browsers/{}", self.chromium.base, self.name)).timeout(Duration::from_secs(120));
        let answer = request.json(&json!({"call": call, "args": args})).send().unwrap();
        let (status, told) = (answer.status().as_u16(), answer.json::<Value>().unwrap());
        assert_eq!(status, 200, "{call} {args}: {told}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Shown {
            gave: told["gave"].clone(),
            url: text(&told["url"]),
            way: told["way"].as_array().unwrap().iter().map(text).collect(),
            text: text(&told["text"]),
        }
    }

    pub fn open(&self, url: &str) -> Shown {
        self.call("goto", &json!([url]))
    }

    pub fn fill(&self, selector: &str, value: &str) {
        self.call("fill", &json!([selector, value]));
    }

    pub fn press(&self, selector: &str) {
        self.call("click", &json!([selector]));
    }

    pub fn wait_for(&self, selector: &str) {
        self.call("waitForSelector", &json!([selector]));
    }

    /// Clicks, and waits until the browser is where that leads.
    pub fn click(&self, selector: &str, leads_to: &str) -> Shown {
        self.press(selector);
        self.call("waitForURL", &json!([leads_to]))
    }

    pub fn run(&self, script: &str) -> Value {
        self.call("evaluate", &json!([script])).gave
    }

    pub fn picture(&self, path: &Path) {
        self.call("screenshot", &json!([{"path": path}]));
    }
}
