//! `create`: makes a container and prints its id.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use api::docker::container::CreateResponse;
use api::docker::image::ImageInspect;

use super::attached;
use super::spec::{self, Pull, Request};
use super::systemd::{self, Systemd};
use crate::client::{Client, Path};
use crate::command::{Cli, Command};
use crate::error::{Error, TOOL_FAILED};
use crate::flags::{Given, Operands};
use crate::image::transfer::Shown;
use crate::{image, output};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    operands: Operands::command_line(1),
    flags: spec::flags,
    refused: spec::REFUSED,
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    // As with Docker's client, 125 is for a command line that is wrong; what the daemon refuses is 1.
    let mut request = spec::read(given).map_err(|error| error.exiting(TOOL_FAILED))?;
    cli.settings().add_proxies(&cli.host(), &mut request.body.config.env);
    let config = &mut request.body.config;
    attached::read(given).map_err(|error| error.exiting(TOOL_FAILED))?.tell(config);
    let id = cli.with_client(async |client| create(client, request).await)?;
    output::print_line(&id).map(|()| 0)
}

/// Makes the container and returns its id; the daemon's warnings go to stderr.
pub(crate) async fn create(client: &Client, mut request: Request) -> Result<String, Error> {
    let cid_file = request.cid_file.clone().map(IdFile::create).transpose()?;
    if request.pull == Pull::Always {
        pull(client, &request).await?;
    }
    if is_for_systemd(client, &request).await? {
        systemd::prepare(&mut request.body);
    }
    let created = match ask(client, &request).await {
        Err(Error::NoSuchImage(_)) if request.pull == Pull::Missing => {
            pull_missing(client, &request).await?;
            ask(client, &request).await?
        }
        created => created?,
    };
    for warning in created.warnings {
        output::complain(&format!("WARNING: {warning}"));
    }
    cid_file.map(|file| file.write(&created.id)).transpose()?;
    Ok(created.id)
}

/// Whether the container is made ready for systemd; its image may tell.
async fn is_for_systemd(client: &Client, request: &Request) -> Result<bool, Error> {
    match request.systemd {
        Systemd::Always => return Ok(true),
        Systemd::Never => return Ok(false),
        Systemd::IfInit => {}
    }
    let config = &request.body.config;
    let image = async || client.get::<ImageInspect>(Path::of("images", &config.image, "/json")).await;
    let image = match image().await {
        Err(error) if error.is_not_found() && request.pull == Pull::Missing => {
            pull_missing(client, request).await?;
            image().await?
        }
        image => image?,
    };
    Ok(systemd::is_init(config, &image))
}

async fn pull_missing(client: &Client, request: &Request) -> Result<(), Error> {
    if !request.is_quiet {
        output::complain(&format!("Unable to find image '{}' locally", whole(request)));
    }
    pull(client, request).await
}

async fn ask(client: &Client, request: &Request) -> Result<CreateResponse, Error> {
    let path = Path::new("/containers/create").query_if("name", request.name.as_deref());
    let path = path.query_if("platform", request.platform.as_deref());
    client.post_json(path, &request.body).await.map_err(|error| match error {
        Error::Daemon { status: 404, message } if message.starts_with("No such image") => {
            Error::NoSuchImage(message)
        }
        error => error,
    })
}

/// The image's name with a tag.
fn whole(request: &Request) -> String {
    let image = &request.body.config.image;
    let (repository, suffix) = image::pull::split(image);
    image::pull::join(repository, suffix.unwrap_or("latest"))
}

/// Pulls the container's image, beside whatever the container will print.
async fn pull(client: &Client, request: &Request) -> Result<(), Error> {
    let (repository, suffix) = image::pull::split(&request.body.config.image);
    let shown = if request.is_quiet { Shown::Nowhere } else { Shown::Stderr };
    let tag = Some(suffix.unwrap_or("latest"));
    image::pull::pull(client, (repository, tag), request.platform.as_deref(), shown).await
}

/// A file that gets the id of a container or of its process: made before the container, gone again if there is none.
#[derive(Debug)]
pub(super) struct IdFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl IdFile {
    /// A file that may not be there yet: another container's id is not written over.
    fn create(path: PathBuf) -> Result<IdFile, Error> {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(IdFile { path, file, is_written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::CidFileExists(path))
            }
            Err(source) => Err(Error::File { action: "creating", path, source }),
        }
    }

    /// A file that may be there from the last time.
    pub(super) fn renew(path: PathBuf) -> Result<IdFile, Error> {
        match File::create(&path) {
            Ok(file) => Ok(IdFile { path, file, is_written: false }),
            Err(source) => Err(Error::File { action: "creating", path, source }),
        }
    }

    pub(super) fn write(mut self, id: &str) -> Result<(), Error> {
        let written = self.file.write_all(id.as_bytes());
        self.is_written = written.is_ok();
        written.map_err(|source| Error::File { action: "writing", path: self.path.clone(), source })
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_written {
            // It is empty; that it stays would only be untidy.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
