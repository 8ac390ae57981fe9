//! A whole distribution in a container: Debian bookworm with systemd as the first process, and sshd.

use tests::host::{Host, fixture, path_text};
use tests::ssh::Login;

#[test]
fn systemd_starts_a_system_that_one_logs_in_to_and_stops_it_in_order() {
    let host = Host::empty();
    host.ok(&["import", "-c", "CMD [\"/sbin/init\"]", path_text(&fixture("systemd.tar")), "bookworm"]);
    let login = Login::new(host.path());
    host.ok(&[
        "run",
        "-d",
        "--privileged",
        "-p",
        "1122:22",
        "--hostname",
        "steel",
        "--name",
        "steel",
        "bookworm",
    ]);
    login.let_into(&host, "steel");
    for run in ["the first run", "a later one"] {
        host.until(run, || login.says("systemctl is-system-running").stdout == "running\n");
        let who = login.says("hostname; id -un; grep systemd: /proc/self/cgroup");
        assert_eq!(who.code, 0, "{who:?}");
        assert!(who.stdout.starts_with("steel\nroot\n"), "{who:?}");
        // A timeout that is never reached: systemd is told in its own words.
        host.ok(&["stop", "-t", "-1", "steel"]);
        assert_ne!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "steel"]), "137", "{run}");
        host.ok(&["start", "steel"]);
    }
    host.ok(&["rm", "-f", "steel"]);
}
