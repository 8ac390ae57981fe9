//! `network connect`: connects a container to a network.

use api::docker::network::{EndpointSettings, NetworkConnectBody};

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::container::network;
use crate::error::Error;
use crate::flags::{Given, Operands, list, value};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    operands: Operands::exactly(2),
    flags: || {
        vec![
            list("alias", "strings", "Add network-scoped alias for the container"),
            value("ip", "string", "IPv4 address (e.g., \"172.30.100.104\")"),
            value("ip6", "string", "IPv6 address (e.g., \"2001:db8::33\")"),
            list("link", "list", "Add link to another container"),
            list("link-local-ip", "strings", "Add a link-local address for the container"),
        ]
    },
    refused: &[("driver-opt", None), ("gw-priority", None)],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let path = Path::of("networks", given.operand(), "/connect");
    let body = body(given)?;
    cli.with_client(async |client| client.send_json(path, &body).await).map(|()| 0)
}

fn body(given: &Given) -> Result<NetworkConnectBody, Error> {
    let texts =
        |flag| given.list(flag).into_iter().flat_map(|texts| texts.split(',')).map(str::to_owned).collect();
    let text = |flag| given.text(flag).unwrap_or_default().to_owned();
    let ipam = network::ipam(text("ip"), text("ip6"), texts("link-local-ip"));
    let links = given.parsed_list("link", network::link)?;
    let settings = EndpointSettings {
        links: (!links.is_empty()).then_some(links),
        ..network::settings(texts("alias"), ipam)
    };
    Ok(NetworkConnectBody {
        container: given.operands()[1].to_owned(),
        endpoint_config: (settings != EndpointSettings::default()).then_some(settings),
    })
}

#[cfg(test)]
mod tests {
    use super::{COMMAND, body};
    use crate::flags::{Given, Usage, parser};
    use serde_json::json;
    use std::ffi::OsString;

    #[test]
    fn flags_become_the_place_in_the_network() {
        let read = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let usage = Usage { path: String::new(), synopsis: "" };
            let given =
                Given::parse(usage, parser("connect", COMMAND.operands, (COMMAND.flags)()), &[], &words)
                    .unwrap();
            serde_json::to_value(body(&given).unwrap()).unwrap()
        };
        assert_eq!(read(&["net", "web"]), json!({"Container": "web"}));
        let full =
            read(&["--alias", "a,b", "--alias=c", "--ip", "10.0.0.9", "--ip6", "fd00::9", "net", "web"]);
        assert_eq!(full["EndpointConfig"]["Aliases"], json!(["a", "b", "c"]));
        let addresses = json!({"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9"});
        assert_eq!(full["EndpointConfig"]["IPAMConfig"], addresses);
        let linked = read(&["--link", "db:base", "--link-local-ip", "169.254.1.1,fe80::1", "net", "web"]);
        assert_eq!(linked["EndpointConfig"]["Links"], json!(["db:base"]));
        let addresses = json!({"LinkLocalIPs": ["169.254.1.1", "fe80::1"]});
        assert_eq!(linked["EndpointConfig"]["IPAMConfig"], addresses);
    }
}
