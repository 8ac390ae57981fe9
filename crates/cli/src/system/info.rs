//! `info`: what the daemon knows about itself and its machine.

use api::docker::system::Info;

use crate::client::Path;
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands};
use crate::{json, output, size, template};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS]",
    about: "Display system-wide information",
    operands: Operands::NONE,
    flags: || vec![template::document_flag()],
    refused: &[],
    run,
};

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let document = cli.with_client(async |client| client.get_text(Path::new("/info")).await)?;
    let text = match given.text("format").unwrap_or_default() {
        "" => {
            let info: Info = serde_json::from_str(&document).map_err(Error::Answer)?;
            let warnings = info.warnings.iter().flatten();
            warnings.for_each(|warning| output::complain(warning));
            text(&info)
        }
        "json" => json::compact(&document) + "\n",
        source => {
            template::document(source, &serde_json::from_str(&document).map_err(Error::Answer)?)? + "\n"
        }
    };
    output::print(&text).map(|()| 0)
}

/// Docker's lines about the server.
fn text(info: &Info) -> String {
    let number = |number: i64| number.to_string();
    let words = |words: &[String]| words.join(" ");
    let runtimes: Vec<String> = info.runtimes.keys().cloned().collect();
    let mut lines = vec![
        (1, "Containers", number(info.containers)),
        (2, "Running", number(info.containers_running)),
        (2, "Paused", number(info.containers_paused)),
        (2, "Stopped", number(info.containers_stopped)),
        (1, "Images", number(info.images)),
        (1, "Server Version", info.server_version.clone()),
        (1, "Storage Driver", info.driver.clone()),
    ];
    lines.extend(info.driver_status.iter().map(|[name, value]| (2, name.as_str(), value.clone())));
    lines.extend([
        (1, "Logging Driver", info.logging_driver.clone()),
        (1, "Cgroup Driver", info.cgroup_driver.clone()),
        (1, "Cgroup Version", info.cgroup_version.clone()),
        (1, "Plugins", String::new()),
        (2, "Volume", words(&info.plugins.volume)),
        (2, "Network", words(&info.plugins.network)),
        (2, "Log", words(&info.plugins.log)),
        (1, "Runtimes", words(&runtimes)),
        (1, "Default Runtime", info.default_runtime.clone()),
        (1, "Security Options", String::new()),
    ]);
    lines.extend(info.security_options.iter().map(|option| (2, security_option(option), String::new())));
    lines.extend([
        (1, "Kernel Version", info.kernel_version.clone()),
        (1, "Operating System", info.operating_system.clone()),
        (1, "OSType", info.os_type.clone()),
        (1, "Architecture", info.architecture.clone()),
        (1, "CPUs", number(info.cpus)),
        (1, "Total Memory", size::binary(info.mem_total)),
        (1, "Name", info.name.clone()),
        (1, "ID", info.id.clone()),
        (1, "Docker Root Dir", info.docker_root_dir.clone()),
        (1, "Debug Mode", info.debug.to_string()),
        (1, "Live Restore Enabled", info.live_restore_enabled.to_string()),
    ]);
    let mut out = format!("Client:\n Version:    {}\n\nServer:\n", env!("CARGO_PKG_VERSION"));
    for (depth, name, value) in lines {
        let is_title = matches!(name, "Plugins" | "Security Options");
        match (value.is_empty(), is_title || depth == 2) {
            (true, true) if is_title => out += &format!(" {name}:\n"),
            (true, true) => out += &format!("  {name}\n"),
            (true, false) => {}
            (false, _) => out += &format!("{:depth$}{name}: {value}\n", ""),
        }
    }
    out
}

/// `name=seccomp,profile=builtin` is `seccomp` here.
fn security_option(option: &str) -> &str {
    option.split(',').next().and_then(|first| first.strip_prefix("name=")).unwrap_or(option)
}

#[cfg(test)]
mod tests {
    use super::text;
    use api::docker::system::Info;

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_left_out() {
        let info = Info {
            containers: 3,
            driver: "overlay2".into(),
            driver_status: vec![["Backing Filesystem".into(), "extfs".into()]],
            security_options: vec!["name=seccomp,profile=builtin".into(), "name=cgroupns".into()],
            mem_total: 2_088_763_392,
            ..Info::default()
        };
        let text = text(&info);
        for line in [
            "\n Containers: 3\n  Running: 0\n",
            "\n Storage Driver: overlay2\n  Backing Filesystem: extfs\n",
            "\n Security Options:\n  seccomp\n  cgroupns\n",
            "\n Total Memory: 1.945GiB\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(!text.contains("Kernel Version"));
    }
}
