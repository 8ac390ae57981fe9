//! Namespaces from the command line.

use tests::host::Host;

#[test]
fn a_namespace_is_chosen_before_and_after_the_command_and_by_the_shell() {
    let host = Host::start();
    host.ok(&["-n", "k8s.io", "run", "-d", "--name", "pod", "busybox", "sleep", "1000"]);
    let ps = ["ps", "--format", "{{.Names}}"];
    for words in [&["-n", "k8s.io", ps[0], ps[1], ps[2]][..], &["ps", "--namespace=k8s.io", ps[1], ps[2]]] {
        assert_eq!(host.ok(words), "pod", "{words:?}");
    }
    assert_eq!(host.ok(&["images", "-n", "k8s.io", "--format", "{{.Repository}}"]), "busybox");
    let by_shell = host.command(&ps).env("CONTAINERD_NAMESPACE", "k8s.io").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&by_shell.stdout), "pod\n");
    assert_eq!(host.ok(&ps), "");
    host.fails(&["exec", "pod", "true"], 1, "No such container: pod");
    // The letter is the command's own where the command has it.
    host.ok(&["-n", "k8s.io", "logs", "-n", "1", "pod"]);
    let listed = host.ok(&["namespace", "ls"]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let want =
        [&["NAME", "CONTAINERS", "IMAGES", "LABELS"][..], &["default", "0", "1"], &["k8s.io", "1", "1"]];
    assert_eq!(lines, want);
    host.fails(&["-n", "../x", "ps"], 1, "namespace \"../x\"");
    host.fails(&["namespace", "rm", "k8s.io"], 1, "must be empty, but it still has images, containers");
    host.ok(&["-n", "k8s.io", "rm", "-f", "pod"]);
    host.ok(&["-n", "k8s.io", "rmi", "busybox"]);
    assert_eq!(host.ok(&["ns", "ls", "-q"]), "default");
}

#[test]
fn a_container_of_a_namespace_outlives_the_daemon() {
    let mut host = Host::start();
    host.ok(&["-n", "team", "run", "-d", "--name", "one", "--restart", "always", "busybox", "sleep", "1000"]);
    host.kill_daemon();
    host.start_daemon();
    let state = ["inspect", "-f", "{{.State.Status}}", "one"];
    assert_eq!(host.ok(&["-n", "team", state[0], state[1], state[2], state[3]]), "running");
    host.ok(&["namespace", "update", "-l", "tier=web", "team"]);
    let label = ["namespace", "inspect", "-f", "{{.Labels.tier}} {{.Containers}}", "team"];
    assert_eq!(host.ok(&label), "web 1");
    host.ok(&["-n", "team", "rm", "-f", "one"]);
}
