//! `ps`: the list of containers.

use std::sync::Arc;

use api::docker::container::{ContainerSummary, Port};

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::filters::{self, Filters};
use crate::flags::{Given, Operands, switch, value};
use crate::image::stored;
use crate::template::{Format, Listing, Row, label, nothing, text};
use crate::{output, size, time};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "List containers",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Show all containers (default shows just running)").short('a'),
            filters::flag("Filter output based on conditions provided").short('f'),
            crate::template::flag(),
            value("last", "int", "Show n last created containers (includes all states)").short('n'),
            switch("latest", "Show the latest created container (includes all states)").short('l'),
            switch("no-trunc", "Don't truncate output"),
            switch("quiet", "Only display container IDs").short('q'),
            switch("size", "Display total file sizes").short('s'),
        ]
    },
    refused: &[],
    run,
};

const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const COLUMNS_WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

pub(crate) const TITLES: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

/// How many characters of a command, and of a mount, a table shows.
const COMMAND_WIDTH: usize = 20;
const MOUNT_WIDTH: usize = 15;

/// How many digits of an id are shown.
const ID_WIDTH: usize = 12;

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let format = Format::parse(given.text("format").unwrap_or_default());
    let last = match (given.switch("latest"), given.integer("last")?) {
        (true, _) => Some(1),
        (false, last) => last.filter(|count| *count > 0),
    };
    // A template that shows sizes needs them, whether -s was given or not.
    let needs_size = given.switch("size")
        || matches!(&format, Format::Template(source) | Format::Table(Some(source)) if source.contains(".Size"));
    let path = Path::new("/containers/json")
        .query_if("all", given.switch("all").then_some("1"))
        .query_if("limit", last.map(|count| count.to_string()).as_deref())
        .query_if("size", needs_size.then_some("1"));
    let path = Filters::read(given)?.apply(path);
    let mut containers: Vec<ContainerSummary> = cli.with_client(async |client| client.get(path).await)?;
    if cli.is_nerdctl() {
        containers.iter_mut().for_each(name_in_full);
    }
    let is_short = !given.switch("no-trunc");
    let rows = containers.into_iter().map(|container| row(container, is_short)).collect();
    let columns = if given.switch("size") { COLUMNS_WITH_SIZE } else { COLUMNS };
    let quiet = given.switch("quiet").then(|| Format::Template("{{.ID}}".into()));
    let listing = Listing { columns, titles: TITLES, rows };
    let format = quiet.filter(|_| matches!(format, Format::Table(None))).unwrap_or(format);
    output::print(&listing.render_spaced(&format, cli.spacing())?).map(|()| 0)
}

/// containerd has no short names: nerdctl shows the registry, too.
fn name_in_full(container: &mut ContainerSummary) {
    let id = container.image_id.strip_prefix("sha256:").unwrap_or_default();
    let is_id = container.image.is_empty()
        || container.image.starts_with("sha256:")
        || id.starts_with(&container.image);
    if !is_id {
        container.image = stored::whole(&container.image);
    }
}

/// Docker's fields of one container.
pub(crate) fn row(container: ContainerSummary, is_short: bool) -> Row {
    let names = container.names.iter().map(|name| name.trim_start_matches('/').to_owned());
    let cut = |whole: String, width| if is_short { ellipsis(&whole, width) } else { whole };
    let mounts = container.mounts.iter().map(|mount| {
        cut(if mount.name.is_empty() { mount.source.clone() } else { mount.name.clone() }, MOUNT_WIDTH)
    });
    let labels = container.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let networks: Vec<String> = container.network_settings.networks.keys().cloned().collect();
    let local_volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let image = match container.image.strip_prefix("sha256:") {
        Some(digits) if is_short => digits.chars().take(ID_WIDTH).collect(),
        _ if container.image.is_empty() => "<no image>".to_owned(),
        _ => container.image.clone(),
    };
    let sizes = match (container.size_rw, container.size_root_fs) {
        (own, Some(all)) if all > 0 => {
            format!("{} (virtual {})", size::decimal(own.unwrap_or(0)), size::decimal(all))
        }
        (own, _) => size::decimal(own.unwrap_or(0)),
    };
    let fields = [
        ("Command", format!("{:?}", cut(container.command.clone(), COMMAND_WIDTH))),
        ("CreatedAt", time::local(container.created)),
        ("ID", short_id(&container.id, is_short)),
        ("Image", image),
        ("Labels", labels.collect::<Vec<_>>().join(",")),
        ("LocalVolumes", local_volumes.to_string()),
        ("Mounts", mounts.collect::<Vec<_>>().join(",")),
        ("Names", names.collect::<Vec<_>>().join(",")),
        ("Networks", networks.join(",")),
        ("Ports", ports(&container.ports)),
        ("RunningFor", time::ago(container.created)),
        ("Size", sizes),
        ("State", container.state.clone()),
        ("Status", container.status.clone()),
    ];
    let fields = fields.into_iter().map(|(name, field)| (Arc::from(name), text(field)));
    // As with Docker, a field that nobody fills yet.
    fields.chain([("Label".into(), label(container.labels)), ("Platform".into(), nothing())]).collect()
}

/// The id without its algorithm, cut unless everything is wanted.
pub(crate) fn short_id(id: &str, is_short: bool) -> String {
    match is_short {
        true => id.strip_prefix("sha256:").unwrap_or(id).chars().take(ID_WIDTH).collect(),
        false => id.to_owned(),
    }
}

/// At most `width` characters; the last one stands for what was cut.
pub(crate) fn ellipsis(whole: &str, width: usize) -> String {
    match whole.chars().count() > width {
        true => whole.chars().take(width - 1).chain(['…']).collect(),
        false => whole.to_owned(),
    }
}

/// Docker's text of all ports: neighbours that are published at their own numbers, or not at all, are one range.
/// Ranges come first in the order in which they end, then what has another number on the host.
fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by_key(|port| (port.private_port, &port.ip, port.public_port, &port.kind));
    // Those that may still grow, in the order in which they began.
    let mut open: Vec<(&Port, u16)> = Vec::new();
    let (mut closed, mut moved) = (Vec::new(), Vec::new());
    for port in sorted {
        let Port { ip, private_port, public_port, kind } = port;
        if let Some(public) = public_port.filter(|public| public != private_port) {
            moved.push(format!("{}->{private_port}/{kind}", at(ip, &public.to_string())));
            continue;
        }
        match open.iter_mut().find(|(first, _)| (&first.ip, &first.kind) == (ip, kind)) {
            Some((_, last)) if last.checked_add(1) == Some(*private_port) => *last = *private_port,
            Some(range) => {
                closed.push(range_text(range.0, range.1));
                *range = (port, *private_port);
            }
            None => open.push((port, *private_port)),
        }
    }
    closed.extend(open.into_iter().map(|(first, last)| range_text(first, last)));
    closed.extend(moved);
    closed.join(", ")
}

fn range_text(first: &Port, last: u16) -> String {
    let Port { ip, private_port, kind, .. } = first;
    let numbers = match *private_port == last {
        true => private_port.to_string(),
        false => format!("{private_port}-{last}"),
    };
    match ip.is_empty() {
        true => format!("{numbers}/{kind}"),
        false => format!("{}->{numbers}/{kind}", at(ip, &numbers)),
    }
}

/// An address and its port; an IPv6 address is in brackets.
fn at(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, Port, TITLES, name_in_full, ports, row};
    use crate::template::{Format, Listing};
    use api::docker::container::ContainerSummary;
    use serde_json::json;

    fn list(format: &str, is_short: bool) -> String {
        let container: ContainerSummary = serde_json::from_value(json!({
            "Id": "0123456789abcdef0123", "Names": ["/web", "/alias"], "Image": "sha256:fedcba9876543210",
            "Command": "/bin/sh -c \"while true; do sleep 1; done\"", "Created": jiff::Timestamp::now().as_second() - 65,
            "Ports": [{"PrivatePort": 80, "Type": "tcp"}, {"IP": "0.0.0.0", "PrivatePort": 90, "PublicPort": 91, "Type": "udp"}],
            "Labels": {"a": "b", "c.d": "e"}, "State": "running", "Status": "Up About a minute",
            "Mounts": [{"Type": "volume", "Name": "a-very-long-volume-name", "Driver": "local"}, {"Source": "/host"}],
            "NetworkSettings": {"Networks": {"host": {}}}, "SizeRw": 1000, "SizeRootFs": 5_000_000,
        }))
        .unwrap();
        let listing = Listing { columns: COLUMNS, titles: TITLES, rows: vec![row(container, is_short)] };
        listing.render(&Format::parse(format)).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            list("", true),
            "CONTAINER ID   IMAGE          COMMAND                   CREATED              STATUS              PORTS                        NAMES\n\
             0123456789ab   fedcba987654   \"/bin/sh -c \\\"while t…\"   About a minute ago   Up About a minute   80/tcp, 0.0.0.0:91->90/udp   web,alias\n"
        );
    }

    #[test]
    fn a_name_in_full_has_its_registry_and_an_id_stays_one() {
        let shown = |image: &str| {
            let (image, image_id) = (image.to_owned(), "sha256:0123456789abcdef".to_owned());
            let mut container = ContainerSummary { image, image_id, ..ContainerSummary::default() };
            name_in_full(&mut container);
            container.image
        };
        for (image, want) in [
            ("nginx:alpine", "docker.io/library/nginx:alpine"),
            ("a/b", "docker.io/a/b:latest"),
            ("host:5000/a:1", "host:5000/a:1"),
            ("0123456789ab", "0123456789ab"),
            ("sha256:0123456789abcdef", "sha256:0123456789abcdef"),
            ("", ""),
        ] {
            assert_eq!(shown(image), want, "{image}");
        }
    }

    #[test]
    fn neighbouring_ports_are_one_range() {
        let shown = |list: &[(&str, u16, u16, &str)]| {
            let lines = list.iter().map(|(ip, private, public, kind)| Port {
                ip: (*ip).into(),
                private_port: *private,
                public_port: Some(*public).filter(|public| *public > 0),
                kind: (*kind).into(),
            });
            ports(&lines.collect::<Vec<_>>())
        };
        let (any, v6) = ("0.0.0.0", "::");
        for (list, want) in [
            (vec![], ""),
            (vec![("", 80, 0, "tcp"), ("", 81, 0, "tcp"), ("", 82, 0, "udp")], "80-81/tcp, 82/udp"),
            (vec![("", 80, 0, "tcp"), ("", 82, 0, "tcp")], "80/tcp, 82/tcp"),
            (
                vec![
                    (any, 8001, 8001, "tcp"),
                    (any, 8000, 8000, "tcp"),
                    (v6, 8000, 8000, "tcp"),
                    (v6, 8001, 8001, "tcp"),
                ],
                "0.0.0.0:8000-8001->8000-8001/tcp, [::]:8000-8001->8000-8001/tcp",
            ),
            (
                vec![(any, 80, 8080, "tcp"), (v6, 80, 8080, "tcp"), ("", 443, 0, "tcp")],
                "443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (vec![(any, 65535, 65535, "tcp"), ("", 1, 0, "tcp")], "1/tcp, 0.0.0.0:65535->65535/tcp"),
        ] {
            assert_eq!(shown(&list), want);
        }
    }

    #[test]
    fn every_field_can_be_asked_for() {
        let cases = [
            ("{{.ID}} {{.Image}}", "0123456789ab fedcba987654\n", true),
            ("{{.ID}} {{.Image}}", "0123456789abcdef0123 sha256:fedcba9876543210\n", false),
            ("{{.Mounts}}|{{.LocalVolumes}}", "a-very-long-vo…,/host|1\n", true),
            ("{{.Mounts}}", "a-very-long-volume-name,/host\n", false),
            ("{{.Networks}} {{.State}}", "host running\n", true),
            ("{{.Labels}} {{.Label \"c.d\"}}", "a=b,c.d=e e\n", true),
            ("{{.Size}}", "1kB (virtual 5MB)\n", true),
        ];
        for (format, expected, is_short) in cases {
            assert_eq!(list(format, is_short), expected, "{format}");
        }
        assert!(list("json", true).contains(r#""LocalVolumes":"1","#));
    }
}
