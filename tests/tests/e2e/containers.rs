//! The life of a container at the command line.

use tests::host::Host;

#[test]
fn run_prints_what_the_container_prints_and_ends_with_its_code() {
    let host = Host::start();
    let outcome = host.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ]);
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("out\n", 7), "{outcome:?}");
    assert!(outcome.stderr.contains("err\n"), "{outcome:?}");
}

#[test]
fn standard_input_reaches_the_container_and_ends_it() {
    let host = Host::start();
    let outcome = host
        .run_with_input(&["run", "--rm", "-i", "--network", "none", "busybox", "wc", "-c"], &[b'x'; 300_000]);
    assert_eq!((outcome.stdout.trim(), outcome.code), ("300000", 0), "{outcome:?}");
}

#[test]
fn output_of_every_size_arrives_whole() {
    let host = Host::start();
    for size in [0_usize, 1, 65_536, 3_000_001] {
        let count = size.to_string();
        let outcome =
            host.run(&["run", "--rm", "--network", "none", "busybox", "head", "-c", &count, "/dev/zero"]);
        assert_eq!(outcome.stdout.len(), size);
    }
}

#[test]
fn a_detached_container_lives_through_its_commands() {
    let host = Host::start();
    let id = host.ok(&["run", "-d", "--name", "life", "--network", "none", "busybox", "sleep", "1000"]);
    assert_eq!(id.len(), 64, "{id}");
    assert!(host.ok(&["ps"]).contains("life"));
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}}", "life"]), "running");
    assert_eq!(host.ok(&["exec", "life", "echo", "hello"]), "hello");
    assert_eq!(host.ok(&["stop", "-t", "1", "life"]), "life");
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "life"]), "exited 137");
    assert!(!host.ok(&["ps"]).contains("life"));
    assert!(host.ok(&["ps", "-a"]).contains("Exited (137)"));
    host.ok(&["start", "life"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Running}}", "life"]), "true");
    host.ok(&["restart", "-t", "0", "life"]);
    host.ok(&["kill", "-s", "KILL", "life"]);
    assert_eq!(host.ok(&["wait", "life"]), "137");
    assert_eq!(host.ok(&["rm", "life"]), "life");
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn stop_sends_the_stop_signal_and_its_code_is_kept() {
    let host = Host::start();
    let script = "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done";
    host.ok(&[
        "run",
        "-d",
        "--name",
        "polite",
        "--stop-signal",
        "USR1",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    host.until("it is ready", || host.ok(&["logs", "polite"]).contains("ready"));
    host.ok(&["stop", "-t", "30", "polite"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "polite"]), "42");
}

#[test]
fn exec_has_its_own_code_environment_user_and_directory() {
    let host = Host::start();
    host.ok(&["run", "-d", "--name", "box", "--network", "none", "-e", "A=1", "busybox", "sleep", "1000"]);
    assert_eq!(host.run(&["exec", "box", "sh", "-c", "exit 9"]).code, 9);
    let text = host.ok(&[
        "exec",
        "-e",
        "B=2",
        "-w",
        "/tmp",
        "-u",
        "www",
        "box",
        "sh",
        "-c",
        "echo $A $B $PWD $(id -u) $(id -G)",
    ]);
    assert_eq!(text, "1 2 /tmp 33 33 29 44");
    assert_eq!(host.run_with_input(&["exec", "-i", "box", "cat"], b"through").stdout, "through");
    assert_eq!(host.run(&["exec", "box", "nothing-like-this"]).code, 127);
    assert_eq!(host.run(&["exec", "box", "/etc/passwd"]).code, 126);
    host.fails(&["exec", "nobody-here", "true"], 1, "No such container: nobody-here");
}

#[test]
fn docker_s_exit_codes_are_kept() {
    let host = Host::start();
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "--rm", "--network", "none"];
        all.extend(arguments);
        host.run(&all).code
    };
    assert_eq!(run(&["busybox", "nothing-like-this"]), 127);
    assert_eq!(run(&["busybox", "/not/there"]), 127);
    assert_eq!(run(&["busybox", "/etc/passwd"]), 126);
    assert_eq!(run(&["busybox", "/etc"]), 126);
    assert_eq!(run(&["--user", "nobody-here", "busybox", "true"]), 125);
    assert_eq!(run(&["no-such-image", "true"]), 125);
    assert_eq!(run(&["busybox", "sh", "-c", "exit 143"]), 143);
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn configuration_reaches_the_process() {
    let host = Host::start();
    let in_container = |flags: &[&str], script: &str| {
        let mut all = vec!["run", "--rm", "--network", "none"];
        all.extend(flags);
        all.extend(["busybox", "sh", "-c", script]);
        host.ok(&all)
    };
    assert_eq!(in_container(&["-e", "X=a b"], "echo \"$X\""), "a b");
    assert_eq!(in_container(&["-w", "/made/for/it"], "pwd"), "/made/for/it");
    assert_eq!(in_container(&["--hostname", "steel"], "hostname; cat /etc/hostname"), "steel\nsteel");
    assert_eq!(
        in_container(&["-u", "33:44", "--group-add", "audio"], "id -u; id -g; id -G"),
        "33\n44\n44 29"
    );
    assert_eq!(in_container(&["-u", "www"], "id -u; echo $HOME"), "33\n/var/www");
    assert_eq!(in_container(&["--read-only"], "touch /x 2>/dev/null || echo refused"), "refused");
    assert_eq!(
        in_container(&["--tmpfs", "/scratch:size=1m"], "df -k /scratch | tail -1 | awk '{print $2}'"),
        "1024"
    );
    assert_eq!(in_container(&["--shm-size", "2m"], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "2048");
    assert_eq!(in_container(&["--sysctl", "kernel.msgmax=4096"], "cat /proc/sys/kernel/msgmax"), "4096");
    assert_eq!(in_container(&["--ulimit", "nofile=99:100"], "ulimit -n; ulimit -Hn"), "99\n100");
    assert_eq!(in_container(&["--entrypoint", "echo"], "x"), "sh -c x");
    assert_eq!(in_container(&["--device", "/dev/null:/dev/other"], "ls -l /dev/other | cut -c1"), "c");
    assert_eq!(in_container(&["-m", "64m"], "cat /sys/fs/cgroup/memory/memory.limit_in_bytes"), "67108864");
}

#[test]
fn cpu_and_process_limits_are_in_the_cgroup() {
    let host = Host::start();
    let script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/pids/pids.max";
    let flags =
        ["run", "--rm", "--network", "none", "--cpus", "0.5", "--cpuset-cpus", "0", "--pids-limit", "33"];
    let mut all = flags.to_vec();
    all.extend(["busybox", "sh", "-c", script]);
    assert_eq!(host.ok(&all), "50000\n0\n33");
}

#[test]
fn a_container_over_its_memory_is_ended_and_says_so() {
    let host = Host::start();
    let outcome = host.run(&[
        "run",
        "--name",
        "glutton",
        "--network",
        "none",
        "-m",
        "16m",
        "busybox",
        "sh",
        "-c",
        "x=$(cat /dev/zero | head -c 64000000 | tr '\\0' x); echo ${#x}",
    ]);
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.OOMKilled}}", "glutton"]), "true");
}

#[test]
fn networks_are_none_the_host_s_or_another_container_s() {
    let host = Host::start();
    let links = |network: &str| {
        host.ok(&[
            "run",
            "--rm",
            "--network",
            network,
            "busybox",
            "sh",
            "-c",
            "readlink /proc/self/ns/net; ip -o link | wc -l",
        ])
    };
    let own =
        std::fs::read_link("/proc/thread-self/ns/net").expect("a network namespace").display().to_string();
    assert!(links("none").ends_with("\n1"), "only lo");
    assert!(links("host").starts_with(&own));
    host.ok(&["run", "-d", "--name", "base", "--network", "none", "busybox", "sleep", "1000"]);
    let base = host.ok(&["exec", "base", "readlink", "/proc/self/ns/net"]);
    assert!(links("container:base").starts_with(&base));
}

#[test]
fn namespaces_can_be_shared_with_the_host_and_with_containers() {
    let host = Host::start();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "base",
        "--network",
        "none",
        "--ipc",
        "shareable",
        "busybox",
        "sleep",
        "1000",
    ]);
    let own = |name: &str| {
        std::fs::read_link(format!("/proc/thread-self/ns/{name}")).expect("a namespace").display().to_string()
    };
    for name in ["pid", "ipc", "uts"] {
        let flag = format!("--{name}");
        let read = format!("/proc/thread-self/ns/{name}");
        assert_eq!(
            host.ok(&["run", "--rm", "--network", "none", &flag, "host", "busybox", "readlink", &read]),
            own(name)
        );
    }
    for name in ["pid", "ipc"] {
        let flag = format!("--{name}");
        let read = format!("/proc/thread-self/ns/{name}");
        let of_base = host.ok(&["exec", "base", "readlink", &read]);
        assert_eq!(
            host.ok(&[
                "run",
                "--rm",
                "--network",
                "none",
                &flag,
                "container:base",
                "busybox",
                "readlink",
                &read
            ]),
            of_base
        );
    }
}

#[test]
fn names_are_kept_until_the_container_is_gone() {
    let host = Host::start();
    host.ok(&["create", "--name", "taken", "--network", "none", "busybox", "true"]);
    let outcome = host.fails(
        &["create", "--name", "taken", "--network", "none", "busybox"],
        1,
        "already in use by container",
    );
    assert_eq!(outcome.stderr.lines().filter(|line| line.contains("Conflict")).count(), 1, "{outcome:?}");
    host.fails(&["run", "--name", "-bad", "--network", "none", "busybox"], 125, "name");
    host.ok(&["rm", "taken"]);
    host.ok(&["create", "--name", "taken", "--network", "none", "busybox", "true"]);
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    let host = Host::start();
    host.ok(&["run", "-d", "--name", "busy", "--network", "none", "busybox", "sleep", "1000"]);
    host.fails(&["rm", "busy"], 1, "container is running");
    host.ok(&["rm", "-f", "busy"]);
    host.fails(&["inspect", "busy"], 1, "no such object: busy");
}

#[test]
fn the_id_file_holds_the_id_and_is_never_overwritten() {
    let host = Host::start();
    let file = host.path().join("id");
    let path = tests::host::path_text(&file);
    let id = host.ok(&["create", "--cidfile", path, "--network", "none", "busybox", "true"]);
    assert_eq!(std::fs::read_to_string(&file).expect("the file is there"), id);
    host.fails(&["create", "--cidfile", path, "--network", "none", "busybox", "true"], 1, "id");
}

#[test]
fn restart_policies_restart_as_often_as_they_say() {
    let host = Host::start();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "again",
        "--restart",
        "on-failure:2",
        "--network",
        "none",
        "busybox",
        "false",
    ]);
    host.until("it gave up", || {
        host.ok(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again"]) == "2 exited"
    });
    host.ok(&[
        "run",
        "-d",
        "--name",
        "forever",
        "--restart",
        "always",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "sleep 0.1",
    ]);
    host.until("it was restarted", || {
        host.ok(&["inspect", "-f", "{{.RestartCount}}", "forever"]).parse::<u32>().unwrap_or(0) >= 2
    });
    host.ok(&["stop", "forever"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Running}}", "forever"]), "false");
}

#[test]
fn twenty_at_once_all_end_with_their_own_code_and_are_gone() {
    let host = Host::start();
    let children: Vec<_> = (0..20)
        .map(|number: i32| {
            let script = format!("echo {number}; exit {number}");
            let mut command =
                host.command(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", &script]);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
            (number, command.spawn().expect("corten runs"))
        })
        .collect();
    for (number, child) in children {
        let output = child.wait_with_output().expect("corten ends");
        assert_eq!(output.status.code(), Some(number));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
    }
    assert_eq!(host.ok(&["ps", "-aq"]), "");
}

#[test]
fn events_tell_a_container_s_life_in_order() {
    let host = Host::start();
    let begin = host.ok(&["run", "--rm", "--network", "none", "busybox", "date", "+%s"]);
    host.ok(&["run", "--rm", "--name", "seen", "--network", "none", "busybox", "true"]);
    host.until("it was destroyed", || {
        let text = host.ok(&[
            "events",
            "--since",
            &begin,
            "--until",
            "0s",
            "--filter",
            "container=seen",
            "--format",
            "{{.Action}}",
        ]);
        text.lines().collect::<Vec<_>>() == ["create", "attach", "start", "die", "destroy"]
    });
}
