//! Helpers that keep logins: programs `docker-credential-NAME` with the verbs `get`, `store` and `erase`
//! (<https://github.com/docker/docker-credential-helpers>). They speak JSON on their standard streams.

use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::config::Login;
use crate::error::Error;

/// Characters of a helper's complaint that are passed on.
const SHOWN_MAX: usize = 200;

/// What a helper keeps.
#[derive(Deserialize)]
pub(crate) struct Kept {
    #[serde(rename = "Username")]
    pub(crate) username: String,
    #[serde(rename = "Secret")]
    pub(crate) secret: String,
}

/// The login at a registry, if the helper has one.
pub(crate) fn get(name: &str, registry: &str) -> Result<Option<Kept>, Error> {
    match call(name, "get", registry) {
        Ok(answer) => {
            let wrong = |_| failed(name, "get", "its answer makes no sense");
            serde_json::from_slice(&answer).map(Some).map_err(wrong)
        }
        // That is how they say it.
        Err(Error::Value(said)) if said.contains("credentials not found") => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn store(name: &str, registry: &str, login: &Login) -> Result<(), Error> {
    let (username, secret) = match login {
        Login::Password { username, password } => (username.as_str(), password),
        Login::Token { token, .. } => ("<token>", token),
    };
    let input = json!({"ServerURL": registry, "Username": username, "Secret": secret}).to_string();
    call(name, "store", &input).map(drop)
}

pub(crate) fn erase(name: &str, registry: &str) -> Result<(), Error> {
    match call(name, "erase", registry) {
        Err(Error::Value(said)) if said.contains("credentials not found") => Ok(()),
        done => done.map(drop),
    }
}

fn call(name: &str, verb: &str, input: &str) -> Result<Vec<u8>, Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(is_plain) {
        return Err(failed(name, verb, "that is no name of a helper"));
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(name, verb, &error.to_string()))?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    // One that does not read says why it ended.
    let _unread = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| failed(name, verb, &error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(name, verb, &shown(&output.stdout, input)))
}

/// What may be shown of a failed helper's words: one line, and nothing that may hold what it was to keep or to give.
fn shown(words: &[u8], input: &str) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let is_document =
        text.contains(['{', '"']) || (input.contains('"') && input.contains(line) && !line.is_empty());
    if line.is_empty() || is_document {
        return "it failed and does not say why".into();
    }
    line.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect()
}

fn failed(name: &str, verb: &str, why: &str) -> Error {
    Error::Value(format!("docker-credential-{name} {verb}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_failed_helpers_words_are_shown_unless_they_may_be_a_secret() {
        let input = r#"{"Secret":"hunter2","ServerURL":"x","Username":"anna"}"#;
        let silent = "it failed and does not say why";
        for (words, shows) in [
            ("\ncredentials not found in native keychain\n", "credentials not found in native keychain"),
            ("{\"Username\":\"anna\",\"Secret\":\"hunter2\"}", silent),
            ("hunter2", silent),
            ("locked\u{1b}[2J", "locked[2J"),
            ("", silent),
        ] {
            assert_eq!(shown(words.as_bytes(), input), shows, "{words:?}");
        }
    }
}
