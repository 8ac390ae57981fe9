//! A whole distribution in a container: Debian bookworm with systemd as the first process, and sshd.

use std::path::Path;
use std::process::Command;

use tests::host::{Host, Outcome, fixture, path_text, run_with_input};

/// Logs in over the published port with the key of that file.
fn ssh(key: &Path, line: &str) -> Outcome {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-p", "1122", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-i"]);
    run_with_input(
        {
            ssh.arg(key).args(["root@127.0.0.1", line]);
            ssh
        },
        b"",
    )
}

#[test]
fn systemd_starts_a_system_that_one_logs_in_to_and_stops_it_in_order() {
    let host = Host::empty();
    host.ok(&["import", "-c", "CMD [\"/sbin/init\"]", path_text(&fixture("systemd.tar")), "bookworm"]);
    let key = host.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen runs").success());
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
    let authorize =
        "mkdir -m 700 /root/.ssh; cat > /root/.ssh/authorized_keys; chmod 600 /root/.ssh/authorized_keys";
    let public = std::fs::read(key.with_extension("pub")).expect("ssh-keygen wrote it");
    let given = host.run_with_input(&["exec", "-i", "steel", "sh", "-c", authorize], &public);
    assert_eq!(given.code, 0, "{given:?}");
    for run in ["the first run", "a later one"] {
        host.until(run, || ssh(&key, "systemctl is-system-running").stdout == "running\n");
        let who = ssh(&key, "hostname; id -un; grep systemd: /proc/self/cgroup");
        assert_eq!(who.code, 0, "{who:?}");
        assert!(who.stdout.starts_with("steel\nroot\n"), "{who:?}");
        // A timeout that is never reached: systemd is told in its own words.
        host.ok(&["stop", "-t", "-1", "steel"]);
        assert_ne!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "steel"]), "137", "{run}");
        host.ok(&["start", "steel"]);
    }
    host.ok(&["rm", "-f", "steel"]);
}
