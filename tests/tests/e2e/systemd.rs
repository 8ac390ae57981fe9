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

#[test]
fn a_container_is_made_ready_for_systemd_when_its_image_begins_with_it() {
    let host = Host::empty();
    let systemd = fixture("systemd.tar");
    host.ok(&["import", "-c", "CMD [\"/sbin/init\"]", path_text(&systemd), "bookworm"]);
    let created = |flags: &[&str], command: &[&str]| {
        let id = host.ok(&[&["create", "--privileged"], flags, &["bookworm"], command].concat());
        let places = "{{.Config.StopSignal}}{{range $place, $_ := .HostConfig.Tmpfs}} {{$place}}{{end}}";
        host.ok(&["inspect", "-f", places, &id])
    };
    let ready = "SIGRTMIN+3 /run /run/lock /tmp /var/lib/journal";
    for (flags, command, want) in [
        (&["--systemd=true"][..], &[][..], ready),
        (&["--systemd=true"], &["sh"], ""),
        (&["--systemd=always"], &["sh"], ready),
        (&["--systemd=false"], &[], ""),
        (&[], &[], ""),
    ] {
        assert_eq!(created(flags, command), want, "{flags:?} {command:?}");
    }
    let pid_file = host.path().join("pid");
    let run =
        ["run", "-d", "--name", "ready", "--privileged", "--systemd=true", "--pidfile", path_text(&pid_file)];
    host.ok(&[&run[..], &["bookworm"]].concat());
    let pid = std::fs::read_to_string(&pid_file).expect("a file");
    assert_eq!(pid, host.ok(&["inspect", "-f", "{{.State.Pid}}", "ready"]));
    let asks = ["exec", "ready", "systemctl", "is-system-running"];
    host.until("systemd is up", || host.run(&asks).stdout == "running\n");
    assert_eq!(host.ok(&["exec", "ready", "stat", "-f", "-c", "%T", "/run", "/tmp"]), "tmpfs\ntmpfs");
    // What does not start leaves no file.
    let missing = host.path().join("none");
    let run = ["run", "--rm", "--pidfile", path_text(&missing), "bookworm", "/nothing"];
    host.fails(&run, 127, "no such file");
    assert!(!missing.exists());
    let nowhere = host.run(&["run", "-d", "--pidfile", "/nonexistent/pid", "bookworm"]);
    assert!(nowhere.code == 125 && nowhere.stderr.contains("creating /nonexistent/pid"), "{nowhere:?}");
    host.ok(&["rm", "-f", "ready"]);
}
