//! `info`: what the daemon knows about itself and its machine.

use serde_json::Value;

use super::version;
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::{inspect, json, output, size, template};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Display system-wide information",
    operands: Operands::NONE,
    flags: || vec![template::document_flag(), inspect::mode_flag()],
    refused: &[],
    run,
};

/// Docker's lines about the server: how deep, the field, the title. What a daemon does not tell is left out.
const LINES: [(usize, &str, &str); 26] = [
    (1, "Containers", "Containers"),
    (2, "ContainersRunning", "Running"),
    (2, "ContainersPaused", "Paused"),
    (2, "ContainersStopped", "Stopped"),
    (1, "Images", "Images"),
    (1, "ServerVersion", "Server Version"),
    (1, "Driver", "Storage Driver"),
    (2, "DriverStatus", ""),
    (1, "LoggingDriver", "Logging Driver"),
    (1, "CgroupDriver", "Cgroup Driver"),
    (1, "CgroupVersion", "Cgroup Version"),
    (1, "Plugins", "Plugins"),
    (1, "Runtimes", "Runtimes"),
    (1, "DefaultRuntime", "Default Runtime"),
    (1, "SecurityOptions", "Security Options"),
    (1, "KernelVersion", "Kernel Version"),
    (1, "OperatingSystem", "Operating System"),
    (1, "OSType", "OSType"),
    (1, "Architecture", "Architecture"),
    (1, "NCPU", "CPUs"),
    (1, "MemTotal", "Total Memory"),
    (1, "Name", "Name"),
    (1, "ID", "ID"),
    (1, "DockerRootDir", "Docker Root Dir"),
    (1, "Debug", "Debug Mode"),
    (1, "LiveRestoreEnabled", "Live Restore Enabled"),
];

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    inspect::check_mode(given)?;
    let document = cli.with_client(async |client| client.get_text(Path::new("/info")).await)?;
    let info: Value = serde_json::from_str(&document).map_err(Error::Answer)?;
    let document = with_client(&document, cli);
    let text = match given.text("format").unwrap_or_default() {
        "" => {
            let warnings = info["Warnings"].as_array().into_iter().flatten();
            warnings.filter_map(Value::as_str).for_each(output::complain);
            text(&info, cli.is_debug())
        }
        "json" => json::compact(&document) + "\n",
        source => {
            let info = serde_json::from_str(&document).map_err(Error::Answer)?;
            template::document(source, info)? + "\n"
        }
    };
    output::print(&text).map(|()| 0)
}

/// The daemon's document and, as Docker has it, what this program is.
fn with_client(document: &str, cli: &Cli) -> String {
    let mut client = version::client();
    client["Debug"] = cli.is_debug().into();
    client["Plugins"] = Value::Array(Vec::new());
    client["Warnings"] = Value::Null;
    match document.trim_end().strip_suffix('}') {
        Some(fields) => format!("{fields},\"ClientInfo\":{client}}}"),
        None => document.to_owned(),
    }
}

fn text(info: &Value, is_debug: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        "Client:\n Version:    {version}\n Context:    default\n Debug Mode: {is_debug}\n\nServer:\n"
    );
    for (depth, field, title) in LINES {
        let value = &info[field];
        match field {
            "DriverStatus" => pairs(value).for_each(|(name, value)| out += &format!("  {name}: {value}\n")),
            "Plugins" => {
                out += " Plugins:\n";
                for kind in ["Volume", "Network", "Log"] {
                    out += &format!("  {kind}: {}\n", words(&value[kind]).join(" "));
                }
            }
            "Runtimes" => {
                let names: Vec<&str> =
                    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                out += &format!(" {title}: {}\n", names.join(" "));
            }
            "SecurityOptions" => {
                out += &format!(" {title}:\n");
                words(value).into_iter().for_each(|option| out += &security_option(option));
            }
            "MemTotal" => out += &format!(" {title}: {}\n", size::binary(value.as_i64().unwrap_or(0))),
            _ => {
                out +=
                    &scalar(value).map(|value| format!("{:depth$}{title}: {value}\n", "")).unwrap_or_default()
            }
        }
    }
    out
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn pairs(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    value.as_array().into_iter().flatten().filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)))
}

/// `name=seccomp,profile=builtin` is a line and one below it.
fn security_option(option: &str) -> String {
    let mut out = String::new();
    for part in option.split(',') {
        out += &match part.split_once('=') {
            Some(("name", name)) => format!("  {name}\n"),
            Some((key, value)) => format!("   {}: {value}\n", capitalised(key)),
            None => format!("  {part}\n"),
        };
    }
    out
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::json;

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_left_out() {
        let info = json!({
            "Containers": 3, "ContainersRunning": 0, "Driver": "overlay2", "MemTotal": 2_088_763_392_i64,
            "DriverStatus": [["Backing Filesystem", "extfs"]], "Plugins": {"Volume": ["local"], "Log": null},
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], "Name": "",
        });
        let text = text(&info, false);
        for line in [
            "\n Containers: 3\n  Running: 0\n",
            "\n Storage Driver: overlay2\n  Backing Filesystem: extfs\n",
            "\n Plugins:\n  Volume: local\n  Network: \n",
            "\n Security Options:\n  seccomp\n   Profile: builtin\n  cgroupns\n",
            "\n Total Memory: 1.945GiB\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(!text.contains("Kernel Version") && !text.contains("\n Name"));
    }
}
