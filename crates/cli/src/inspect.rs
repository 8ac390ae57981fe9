//! `inspect`: everything about objects, whatever they are; and its forms for one kind.
//!
//! The text that the daemon sent is what is shown: only its white space changes.

use clap::Arg;

use crate::client::{Client, Path};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};
use crate::template;
use crate::{json, output};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Return low-level information on Docker objects",
    operands: Operands::at_least(1),
    flags: || {
        vec![
            template::document_flag(),
            mode_flag(),
            switch("size", "Display total file sizes if the type is container").short('s'),
            value(
                "type",
                "string",
                "Only inspect objects of the given type (container, image, network or volume)",
            ),
        ]
    },
    refused: &[],
    run: |cli, given| match given.text("type") {
        None | Some("") => show(cli, given, &[Kind::Container, Kind::Image, Kind::Network, Kind::Volume]),
        Some("container") => show(cli, given, &[Kind::Container]),
        Some("image") => show(cli, given, &[Kind::Image]),
        Some("network") => show(cli, given, &[Kind::Network]),
        Some("volume") => show(cli, given, &[Kind::Volume]),
        Some(kind @ ("config" | "node" | "plugin" | "secret" | "service" | "task")) => {
            Err(Error::NotYet(format!("inspecting a {kind}")))
        }
        Some(kind) => Err(Error::Value(format!(
            "unknown type: \"{kind}\": must be one of \"container\", \"image\", \"network\", \"volume\""
        ))),
    },
};

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Image,
    Namespace,
    Network,
    Volume,
}

/// The flags of the form for one kind.
pub(crate) fn flags() -> Vec<Arg> {
    vec![template::document_flag(), mode_flag()]
}

/// nerdctl's flag: whose document is shown.
pub(crate) fn mode_flag() -> Arg {
    value("mode", "string", "Whose document is shown (only \"dockercompat\")")
}

/// Refuses containerd's documents.
pub(crate) fn check_mode(given: &Given) -> Result<(), Error> {
    match given.text("mode") {
        None | Some("" | "dockercompat") => Ok(()),
        Some("native") => Err(Error::NotThere {
            what: format!("--mode=native of `{}`", given.usage().path),
            reason: "containerd's own documents are not kept",
            hint: "without it Docker's document is shown",
        }),
        Some(mode) => Err(Error::Value(format!("unknown mode {mode:?}: it is \"dockercompat\""))),
    }
}

/// Prints what is known of every operand, as the first of `kinds` that has one of that name.
pub(crate) fn show(cli: &Cli, given: &Given, kinds: &[Kind]) -> Result<u8, Error> {
    check_mode(given)?;
    let with_size = kinds.contains(&Kind::Container) && given.switch("size");
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    cli.with_client(async |client| {
        for name in given.operands() {
            match find(client, name, kinds, with_size).await {
                Ok(document) => documents.push(document),
                Err(error @ Error::Daemon { .. } | error @ Error::NoSuchObject(_)) => failures.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })?;
    let text = match given.text("format").unwrap_or_default() {
        "" => json::indent(&format!("[{}]", documents.join(",")), "", "    ") + "\n",
        "json" => json::compact(&format!("[{}]", documents.join(","))) + "\n",
        source => {
            let template = template::Template::parse(source)?;
            let texts = documents.iter().map(|document| {
                let document = serde_json::from_str(document).map_err(Error::Answer)?;
                Ok(template.apply(document)? + "\n")
            });
            texts.collect::<Result<String, Error>>()?
        }
    };
    output::print(&text)?;
    failures.iter().for_each(|error| cli.complain(error));
    Ok(u8::from(!failures.is_empty()))
}

async fn find(client: &Client, name: &str, kinds: &[Kind], with_size: bool) -> Result<String, Error> {
    for kind in kinds {
        let path = match kind {
            Kind::Container => {
                Path::of("containers", name, "/json").query_if("size", with_size.then_some("1"))
            }
            Kind::Image => Path::of("images", name, "/json"),
            Kind::Namespace => Path::of("corten/namespaces", name, ""),
            Kind::Network => Path::of("networks", name, ""),
            Kind::Volume => Path::of("volumes", name, ""),
        };
        match client.get_text(path).await {
            // A name that one kind cannot have at all may be that of another.
            Err(Error::Daemon { status: 400 | 404, .. }) if kinds.len() > 1 => {}
            result => return result,
        }
    }
    Err(Error::NoSuchObject(name.to_owned()))
}
