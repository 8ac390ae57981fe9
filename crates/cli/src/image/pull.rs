//! `pull`: an image from its registry.

use super::transfer::{self, Shown};
use crate::client::{Client, Path};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};
use crate::{output, registry};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            switch("all-tags", "Download all tagged images in the repository").short('a'),
            value("platform", "string", "Set platform if server is multi-platform capable"),
            switch("quiet", "Suppress verbose output").short('q'),
        ]
    },
    refused: &[("disable-content-trust", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let name = given.operand();
    let is_all = given.switch("all-tags");
    let (repository, suffix) = split(name);
    if is_all && suffix.is_some() {
        return Err(Error::Value("tag can't be used with --all-tags/-a".into()));
    }
    let tag = if is_all { None } else { Some(suffix.unwrap_or("latest")) };
    let is_quiet = given.switch("quiet");
    if suffix.is_none() && !is_all && !is_quiet {
        output::print_line("Using default tag: latest")?;
    }
    let shown = if is_quiet { Shown::Nowhere } else { Shown::Stdout };
    cli.with_client(async |client| pull(client, (repository, tag), given.text("platform"), shown).await)?;
    let whole = tag.map_or_else(|| full(repository), |tag| full(&join(repository, tag)));
    output::print_line(&whole).map(|()| 0)
}

/// Has the daemon pull an image.
pub(crate) async fn pull(
    client: &Client,
    (repository, tag): (&str, Option<&str>),
    platform: Option<&str>,
    shown: Shown,
) -> Result<(), Error> {
    let path = Path::new("/images/create").query("fromImage", repository).query_if("tag", tag);
    let path = path.query_if("platform", platform);
    transfer::transfer(client, path, registry::headers(repository)?, shown).await.map(drop)
}

/// A repository, and the tag or digest behind it.
pub(crate) fn split(name: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = name.split_once('@') {
        return (repository, Some(digest));
    }
    match name.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// A repository with its tag or digest.
pub(crate) fn join(repository: &str, suffix: &str) -> String {
    let separator = if suffix.contains(':') { '@' } else { ':' };
    format!("{repository}{separator}{suffix}")
}

/// The whole name, as Docker prints it.
fn full(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    match name.split_once('/') {
        Some(_) if first == "localhost" || first.contains(['.', ':']) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{full, join, split};

    #[test]
    fn names_are_taken_apart_and_completed() {
        for (name, repository, suffix, whole) in [
            ("busybox", "busybox", None, "docker.io/library/busybox"),
            ("user/app:1", "user/app", Some("1"), "docker.io/user/app:1"),
            ("localhost:5000/app", "localhost:5000/app", None, "localhost:5000/app"),
            ("a.example/x@sha256:00", "a.example/x", Some("sha256:00"), "a.example/x@sha256:00"),
        ] {
            assert_eq!(split(name), (repository, suffix));
            assert_eq!(full(&suffix.map_or(repository.to_owned(), |suffix| join(repository, suffix))), whole);
        }
    }
}
