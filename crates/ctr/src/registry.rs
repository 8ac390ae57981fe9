//! What the command line says of registries: who asks, by which way, and which name.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use api::types::transfer::{AuthResponse, AuthType, OciRegistry, RegistryResolver};
use image::registry::{Access, Config, Credentials, Proxies};
use image::remote::Remote;
use oci::platform::Platform;
use oci::reference::Reference;
use rustix::termios::{self, LocalModes, OptionalActions};

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::output;
use crate::transfer::{Aside, Stream, answering};

/// Flags of which only this side knows anything: containerd's transfer service has no field for them.
pub(crate) const ONLY_LOCAL: [&str; 4] = ["skip-verify", "tlscacert", "tlscert", "tlskey"];

/// A name as it is: with its registry, and a tag or a digest.
pub(crate) fn reference(text: &str) -> Result<Reference, Error> {
    let wrong = |why: &str| Error::Usage(format!("failed to resolve reference {text:?}: {why}"));
    let reference = Reference::parse_named(text).map_err(|error| wrong(&error.to_string()))?;
    if !text.starts_with(&format!("{}/", reference.domain())) {
        return Err(wrong("it does not begin with a registry"));
    }
    if reference.tag().is_none() && reference.digest().is_none() {
        return Err(wrong("it has neither a tag nor a digest"));
    }
    Ok(reference)
}

/// Who asks, if the command line says so. A password that is left out is asked for.
fn credentials(call: &Call) -> Result<Option<Credentials>, Error> {
    let (username, password) = match call.text("user").split_once(':') {
        Some((username, password)) => (username.to_owned(), password.to_owned()),
        None => (call.text("user").to_owned(), String::new()),
    };
    let identity_token = call.text("refresh").to_owned();
    if username.is_empty() && identity_token.is_empty() {
        return Ok(None);
    }
    let is_asked = identity_token.is_empty() && password.is_empty();
    let password = if is_asked { ask_password()? } else { password };
    Ok(Some(Credentials { username, password, identity_token, ..Credentials::default() }))
}

fn ask_password() -> Result<String, Error> {
    let failed = |source| Error::File { what: "read the password".into(), source };
    let stdin = std::io::stdin();
    let seen = match stdin.is_terminal() {
        true => Some(termios::tcgetattr(&stdin).map_err(|errno| failed(errno.into()))?),
        false => None,
    };
    output::tell("Password: ");
    if let Some(seen) = &seen {
        let mut silent = seen.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|errno| failed(errno.into()))?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(seen) = &seen {
        termios::tcsetattr(&stdin, OptionalActions::Flush, seen).map_err(|errno| failed(errno.into()))?;
    }
    output::tell("\n");
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The registry's end of a transfer; and who answers the daemon's questions, as long as it lives.
pub(crate) async fn end(
    call: &Call,
    client: &Client,
    name: &str,
) -> Result<(OciRegistry, Option<Aside>), Error> {
    let mut resolver = RegistryResolver {
        host_dir: call.text("hosts-dir").to_owned(),
        default_scheme: if call.is("plain-http") { "http".to_owned() } else { String::new() },
        ..RegistryResolver::default()
    };
    let mut aside = None;
    if let Some(Credentials { username, password, identity_token, .. }) = credentials(call)? {
        let response = match identity_token.is_empty() {
            true => AuthResponse {
                auth_type: AuthType::Credentials.into(),
                username,
                secret: password,
                ..AuthResponse::default()
            },
            false => AuthResponse {
                auth_type: AuthType::Refresh.into(),
                secret: identity_token,
                ..AuthResponse::default()
            },
        };
        let stream = Stream::open(client, "auth").await?;
        resolver.auth_stream.clone_from(&stream.id);
        let own = name.split('/').next().unwrap_or_default().to_owned();
        aside = Some(answering(stream, own, response));
    }
    Ok((OciRegistry { reference: name.to_owned(), resolver: Some(resolver) }, aside))
}

/// The registry of a name, as this side speaks to it.
pub(crate) fn remote(call: &Call, name: &str, pushes: bool) -> Result<Remote, Error> {
    let files = |name: &str| Some(call.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let client = match (files("tlscert"), files("tlskey")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(Error::Usage("--tlscert and --tlskey are given together".into())),
    };
    let access = Access {
        credentials: credentials(call)?,
        host_directories: files("hosts-dir").map(|path| vec![path]),
        plain_http: call.is("plain-http"),
        skip_verify: call.is("skip-verify"),
        authorities: files("tlscacert").into_iter().collect(),
        clients: client.into_iter().collect(),
        ..Access::default()
    };
    let variable = |name: &str| {
        let lower = name.to_ascii_lowercase();
        [name, &lower].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
    };
    let config = Config {
        // The daemon's own, when nobody has changed them.
        host_directories: ["corten", "containerd", "docker"]
            .map(|name| format!("/etc/{name}/certs.d").into())
            .into(),
        insecure: Vec::new(),
        proxies: Proxies {
            http: variable("HTTP_PROXY"),
            https: variable("HTTPS_PROXY"),
            no_proxy: variable("NO_PROXY"),
        },
    };
    Ok(Remote::new(reference(name)?, access, config, pushes))
}

/// The platforms of the command line; without a word this machine's, or all (none) when they are all asked for.
pub(crate) fn platforms(call: &Call) -> Result<Vec<Platform>, Error> {
    let wrong = |error: oci::platform::PlatformError| Error::Usage(error.to_string());
    let named = call.list("platform").iter().map(|text| Platform::parse(text).map_err(wrong));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    Ok(match (call.is("all-platforms"), named.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![Platform::host()],
        (false, false) => named,
    })
}
