//! `port`: where the ports of a container are published.

use std::collections::BTreeMap;

use api::docker::container::PortMap;
use api::docker::host_config::PortBinding;
use serde::Deserialize;

use super::publish;
use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::output;

pub(crate) const COMMAND: Command = Command {
    synopsis: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    operands: Operands::between(1, 2),
    flags: Vec::new,
    refused: &[],
    run,
};

/// What of an inspect is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    network_settings: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    ports: Option<PortMap>,
}

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let name = given.operand();
    let path = Path::of("containers", name, "/json");
    let inspected: Inspected = cli.with_client(async |client| client.get(path).await)?;
    let ports = inspected.network_settings.ports.unwrap_or_default();
    let Some(asked) = given.operands().get(1).copied() else {
        return output::print(&all(&ports)).map(|()| 0);
    };
    match one(&ports, asked).map_err(|reason| Error::Value(format!("invalid port ({asked}): {reason}")))? {
        Ok(addresses) => output::print(&addresses).map(|()| 0),
        Err(port) => {
            // The whole line is Docker's, which scripts look for.
            output::complain(&format!("Error: No public port '{port}' published for {name}"));
            Ok(1)
        }
    }
}

/// A line for each port and place of it, by number.
fn all(ports: &PortMap) -> String {
    let number = |port: &str| publish::number(port.split('/').next().unwrap_or_default()).unwrap_or_default();
    let sorted: BTreeMap<_, _> =
        ports.iter().map(|(port, bindings)| ((number(port), port.as_str()), bindings)).collect();
    let mut out = String::new();
    for ((_, port), bindings) in sorted {
        for binding in bindings.iter().flatten() {
            out += &format!("{port} -> {}\n", address(binding));
        }
    }
    out
}

/// The addresses of one port, a line each; else what the port is called.
fn one(ports: &PortMap, asked: &str) -> Result<Result<String, String>, String> {
    let (number, protocol) = asked.split_once('/').unwrap_or((asked, ""));
    publish::number(number)?;
    let port = format!("{number}/{}", if protocol.is_empty() { "tcp" } else { protocol });
    let bindings = ports.get(&port).and_then(Option::as_deref).unwrap_or_default();
    let lines: String = bindings.iter().map(|binding| address(binding) + "\n").collect();
    Ok(if lines.is_empty() { Err(port) } else { Ok(lines) })
}

fn address(binding: &PortBinding) -> String {
    let PortBinding { host_ip, host_port } = binding;
    match host_ip.contains(':') {
        true => format!("[{host_ip}]:{host_port}"),
        false => format!("{host_ip}:{host_port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{PortMap, all, one};
    use serde_json::json;

    fn ports() -> PortMap {
        serde_json::from_value(json!({
            "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}], "53/udp": null,
            "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "9"}],
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8000"}, {"HostIp": "::", "HostPort": "8000"}],
        }))
        .unwrap()
    }

    #[test]
    fn every_place_of_every_port_has_a_line() {
        let want = "9/udp -> 127.0.0.1:9\n80/tcp -> 0.0.0.0:8000\n80/tcp -> [::]:8000\n8080/tcp -> 127.0.0.1:32768\n";
        assert_eq!(all(&ports()), want);
    }

    #[test]
    fn one_port_shows_its_addresses_only() {
        assert_eq!(one(&ports(), "80").unwrap().unwrap(), "0.0.0.0:8000\n[::]:8000\n");
        assert_eq!(one(&ports(), "8080/tcp").unwrap().unwrap(), "127.0.0.1:32768\n");
        assert_eq!(one(&ports(), "53/udp").unwrap(), Err("53/udp".into()), "exposed only");
        assert_eq!(one(&ports(), "81").unwrap(), Err("81/tcp".into()));
        assert_eq!(one(&ports(), "x").unwrap_err(), "strconv.ParseUint: parsing \"x\": invalid syntax");
    }
}
