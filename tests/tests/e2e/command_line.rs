//! The command line itself: who is asked, what a user's `config.json` wishes, and what the shell is told.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::host::{Host, executable, run_with_input};

/// A command of a user whose `config.json` is this.
fn with_config(host: &Host, config: &str, arguments: &[&str]) -> Command {
    let directory = host.path().join("user");
    std::fs::create_dir_all(&directory).expect("a folder");
    std::fs::write(directory.join("config.json"), config).expect("it is written");
    let mut command = host.command(arguments);
    command.env("DOCKER_CONFIG", directory);
    command
}

#[test]
fn what_config_json_wishes_holds_unless_a_flag_says_otherwise() {
    let host = Host::start();
    host.ok(&["run", "--name", "one", "busybox", "true"]);
    let config = r#"{"psFormat": "table {{.Names}}\t{{.Image}}", "proxies": {"default": {"httpProxy": "http://p:1"}}, "HttpHeaders": {"X-A": "b"}}"#;
    let says = |arguments: &[&str]| run_with_input(with_config(&host, config, arguments), b"").stdout;
    assert_eq!(says(&["ps", "-a"]), "NAMES     IMAGE\none       busybox\n");
    assert_eq!(says(&["ps", "-a", "--format", "{{.State}}"]), "exited\n");
    assert_eq!(says(&["ps", "-aq"]).trim().len(), 12);
    let shown = says(&["run", "--rm", "-e", "http_proxy=mine", "busybox", "env"]);
    assert!(shown.contains("HTTP_PROXY=http://p:1\n") && shown.contains("http_proxy=mine\n"), "{shown}");
    let broken = run_with_input(with_config(&host, "{", &["ps", "-aq"]), b"");
    assert!(broken.code == 0 && broken.stderr.starts_with("WARNING: "), "{broken:?}");
}

#[test]
fn there_is_one_context_and_it_is_the_daemon_that_is_asked() {
    let host = Host::empty();
    assert_eq!(host.ok(&["context", "show"]), "default");
    assert_eq!(
        host.ok(&["context", "ls", "--format", "{{.Name}} {{.DockerEndpoint}}"]),
        format!("default {}", host.address())
    );
    assert_eq!(host.ok(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]), host.address());
    host.fails(&["context", "use", "other"], 1, "context \"other\": context not found");
    host.fails(&["--context", "other", "ps"], 1, "context \"other\": context not found");
    host.fails(&["-H", "unix:///a", "-H", "unix:///b", "ps"], 1, "specify only one -H");
    host.fails(&["-l", "loud", "ps"], 125, "invalid argument \"loud\"");
    let told = host.run(&["--debug", "ps", "-q"]);
    assert_eq!(told.stderr, "debug: GET /containers/json\n");
}

#[test]
fn help_is_asked_for_in_three_ways_and_a_slip_is_answered() {
    let host = Host::empty();
    assert_eq!(host.ok(&["help", "run"]), host.ok(&["run", "--help"]));
    assert_eq!(host.ok(&["help", "volume", "ls"]), host.ok(&["volume", "ls", "--help"]));
    host.fails(&["help", "nothing"], 1, "unknown help topic: nothing");
    host.fails(
        &["nothing"],
        1,
        "unknown command: corten nothing\n\nRun 'corten --help' for more information",
    );
    host.fails(&["volume", "nothing"], 1, "\n\nRun 'corten volume --help' for more information");
    let link = host.path().join("nerdctl");
    std::os::unix::fs::symlink(executable("corten"), &link).expect("a link");
    let help = Command::new(&link).args(["ps", "--help"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&help.stdout).starts_with("Usage:  nerdctl ps "), "{help:?}");
}

#[test]
fn a_shell_completes_names_and_the_pages_are_written() {
    let host = Host::start();
    host.ok(&["create", "--name", "first", "busybox", "true"]);
    assert_eq!(host.ok(&["__complete", "rm", "fi"]), "first");
    assert_eq!(host.ok(&["__complete", "run", "--rm", "busy"]), "busybox:latest");
    assert_eq!(host.ok(&["__complete", "run", "--cpuset-c"]), "--cpuset-cpus");
    let script = host.ok(&["completion", "bash"]);
    let line = "corten rm fi";
    let asks = format!(
        "PATH={}:$PATH\n{script}\nCOMP_LINE='{line}' COMP_POINT={} _corten && echo \"${{COMPREPLY[@]}}\"",
        executable("corten").parent().map(Path::display).expect("a folder"),
        line.len()
    );
    let mut shell = Command::new("bash");
    shell.args(["-c", &asks]).env("DOCKER_HOST", host.address());
    assert_eq!(run_with_input(shell, b"").stdout, "first\n");
    let pages = host.path().join("pages");
    host.ok(&["man", pages.to_str().expect("ASCII")]);
    let page = std::fs::read_to_string(pages.join("corten-container-run.1")).expect("a page");
    assert!(page.starts_with(".TH \"CORTEN\\-CONTAINER\\-RUN\" \"1\""), "{page}");
}

#[test]
fn the_daemons_socket_is_on_stdin_and_stdout() {
    let host = Host::empty();
    let mut dial = host
        .command(&["system", "dial-stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("corten runs");
    let request = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
    dial.stdin.as_mut().expect("a pipe").write_all(request).expect("it reads");
    let mut answer = String::new();
    dial.stdout.as_mut().expect("a pipe").read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("OK"), "{answer}");
    assert!(dial.wait().expect("it ends").success());
}
