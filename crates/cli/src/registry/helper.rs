//! Helpers that keep logins: programs `docker-credential-NAME` with the verbs `get`, `store` and `erase`
//! (<https://github.com/docker/docker-credential-helpers>). They speak JSON on their standard streams.

use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::config::Login;
use crate::error::Error;

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
    Err(failed(name, verb, String::from_utf8_lossy(&output.stdout).trim()))
}

fn failed(name: &str, verb: &str, why: &str) -> Error {
    Error::Value(format!("docker-credential-{name} {verb}: {why}"))
}
