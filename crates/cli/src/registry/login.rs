//! `login`: shows a name and a password to a registry, and keeps them when it takes them.

use std::io::{self, IsTerminal, Read};

use api::docker::image::{AuthBody, AuthReply};

use super::config::{Config, Login};
use super::{INDEX, proxy_headers};
use crate::client::{Body, Path};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};
use crate::{output, terminal};

/// A password is a line.
const PASSWORD_MAX: u64 = 64 << 10;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry",
    operands: Operands::between(0, 1),
    flags: || {
        vec![
            value("password", "string", "Password or Personal Access Token (PAT)").short('p'),
            switch("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
            value("username", "string", "Username").short('u'),
        ]
    },
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let registry = key_of(given.operand());
    let mut config = Config::load()?;
    let (username, password) = ask(given, &registry)?;
    let body = AuthBody {
        username: username.clone(),
        password: password.clone(),
        server_address: registry.clone(),
        identity_token: String::new(),
    };
    let reply: AuthReply = cli.with_client(async |client| {
        client.post_json_with(Path::new("/auth"), proxy_headers(), Body::json(&body)).await
    })?;
    let login = match reply.identity_token.as_str() {
        "" => Login::Password { username, password },
        token => Login::Token { username, token: token.to_owned() },
    };
    if config.keep(&registry, &login)? {
        output::complain(&format!(
            "WARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            config.path().display()
        ));
    }
    output::print_line(&reply.status).map(|()| 0)
}

/// How a registry is called in the list of logins.
pub(super) fn key_of(server: &str) -> String {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    match bare.split('/').next().unwrap_or_default() {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => INDEX.to_owned(),
        host => host.to_owned(),
    }
}

fn ask(given: &Given, registry: &str) -> Result<(String, String), Error> {
    let (mut username, mut password) =
        (given.text("username").map(str::to_owned), given.text("password").map(str::to_owned));
    if given.switch("password-stdin") {
        if password.is_some() {
            return Err(Error::Conflict("cannot specify both --password and --password-stdin"));
        }
        if username.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::Value("the --password-stdin option requires --username to be set".into()));
        }
        let mut text = String::new();
        io::stdin().take(PASSWORD_MAX).read_to_string(&mut text).map_err(Error::Input)?;
        password = Some(text.trim_end_matches(['\r', '\n']).to_owned());
    } else if password.is_some() {
        output::complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if username.is_none() || password.is_none() {
        if !io::stdin().is_terminal() {
            return Err(Error::Value(
                "cannot log in without a terminal: give --username and --password-stdin".into(),
            ));
        }
        if username.is_none() {
            output::complain(&format!("Log in to {registry}"));
            username = Some(terminal::ask("Username: ", true).map_err(Error::Input)?);
        }
        if password.is_none() {
            password = Some(terminal::ask("Password: ", false).map_err(Error::Input)?);
        }
    }
    match (username.filter(|name| !name.is_empty()), password.filter(|secret| !secret.is_empty())) {
        (Some(username), Some(password)) => Ok((username, password)),
        (None, _) => Err(Error::Value("username is empty".into())),
        (_, None) => Err(Error::Value("password is empty".into())),
    }
}
