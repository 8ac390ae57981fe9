//! `version`: of this program and of the daemon.

use api::docker::system::Version;
use serde_json::json;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::{json, output, template};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Show the version information",
    operands: Operands::NONE,
    flags: || vec![template::document_flag()],
    refused: &[],
    run,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The newest version of the Engine API that this program speaks.
const API_VERSION: &str = "1.51";

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let server: Result<serde_json::Value, Error> =
        cli.with_client(async |client| client.get(Path::new("/version")).await);
    // Without a daemon there is still something to tell.
    let (server, failure) = match server {
        Ok(server) => (server, None),
        Err(error) => (serde_json::Value::Null, Some(error)),
    };
    let text = match given.text("format").unwrap_or_default() {
        "" => text(&server)?,
        format => {
            let both = json!({"Client": client(), "Server": server});
            match format {
                "json" => json::compact(&both.to_string()) + "\n",
                source => {
                    let both = serde_json::from_str(&both.to_string()).map_err(Error::Answer)?;
                    template::document(source, both)? + "\n"
                }
            }
        }
    };
    output::print(&text)?;
    failure.map_or(Ok(0), Err)
}

/// What this program is, with all the keys of Docker's.
pub(super) fn client() -> serde_json::Value {
    json!({
        "Platform": {"Name": "Corten"}, "Version": VERSION, "ApiVersion": API_VERSION,
        "DefaultAPIVersion": API_VERSION, "GitCommit": "", "GoVersion": "", "Os": std::env::consts::OS,
        "Arch": architecture(), "BuildTime": "", "Context": "default",
    })
}

/// As the images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(server: &serde_json::Value) -> Result<String, Error> {
    let platform = format!("{}/{}", std::env::consts::OS, architecture());
    let mut out = format!(
        "Client: Corten\n Version:           {VERSION}\n API version:       {API_VERSION}\n OS/Arch:           {platform}\n Context:           default\n"
    );
    if server.is_null() {
        return Ok(out);
    }
    let server: Version = serde_json::from_value(server.clone()).map_err(Error::Answer)?;
    out += format!("\nServer: {}", server.platform.name).trim_end();
    out += "\n Engine:\n";
    let api = format!("{} (minimum version {})", server.api_version, server.min_api_version);
    let platform = format!("{}/{}", server.os, server.arch);
    for (name, value) in [
        ("Version", &server.version),
        ("API version", &api),
        ("Git commit", &server.git_commit),
        ("Built", &server.build_time),
        ("OS/Arch", &platform),
    ] {
        if !value.is_empty() {
            out += &format!("  {:18}{value}\n", format!("{name}:"));
        }
    }
    for component in server.components.iter().filter(|component| component.name != "Engine") {
        out += &format!(" {}:\n  {:18}{}\n", component.name, "Version:", component.version);
        if let Some(commit) = component.details.get("GitCommit") {
            out += &format!("  {:18}{commit}\n", "GitCommit:");
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::json;

    #[test]
    fn both_sides_are_told_in_dockers_layout() {
        let alone = text(&serde_json::Value::Null).unwrap();
        assert!(alone.starts_with("Client: Corten\n Version:           ") && !alone.contains("Server"));
        let server = json!({
            "Platform": {"Name": "Corten"}, "Version": "1.2", "ApiVersion": "1.51", "MinAPIVersion": "1.24",
            "Os": "linux", "Arch": "amd64",
            "Components": [{"Name": "Engine", "Version": "1.2"}, {"Name": "shim", "Version": "7"}],
        });
        let both = text(&server).unwrap();
        let expected = "\nServer: Corten\n Engine:\n  Version:          1.2\n  API version:      1.51 (minimum version 1.24)\n  \
                        OS/Arch:          linux/amd64\n shim:\n  Version:          7\n";
        assert_eq!(
            both.split_once("\nServer").map(|(_, server)| format!("\nServer{server}")).as_deref(),
            Some(expected)
        );
    }
}
