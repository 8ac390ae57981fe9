//! Daemons on other machines: through TLS, and through `ssh`.

use std::path::Path;
use std::process::Command;

use tests::host::{Host, Outcome, executable, path_text, run_with_input};
use tests::tls::{Authority, door, loopback_ssh};

fn corten(environment: &[(&str, &str)], words: &[&str], input: &[u8]) -> Outcome {
    let mut command = Command::new(executable("corten"));
    for name in ["DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_TLS"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).args(words);
    run_with_input(command, input)
}

fn socket(host: &Host) -> std::path::PathBuf {
    host.state().join("docker.sock")
}

#[test]
fn a_daemon_behind_tls_is_used_like_one_that_is_not() {
    let host = Host::start();
    let authority = Authority::new();
    let (server, client) = (authority.sign("server"), authority.sign("client"));
    let address = format!("tcp://{}", door(&server, socket(&host)));
    let environment =
        [("DOCKER_HOST", &*address), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path_text(&client))];
    let told = corten(
        &environment,
        &["run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo err >&2; exit 7"],
        b"in\n",
    );
    assert_eq!((told.code, &*told.stdout, &*told.stderr), (7, "in\n", "err\n"));
    // As much as fills every buffer on the way, in both directions.
    let much = vec![b'x'; 3 << 20];
    let told = corten(&environment, &["run", "--rm", "-i", "busybox", "cat"], &much);
    assert_eq!((told.code, told.stdout.len()), (0, much.len()), "{}", told.stderr);
    assert_eq!(corten(&environment, &["ps", "-aq"], b"").stdout, "");
    let raw = corten(&environment, &["system", "dial-stdio"], b"GET /_ping HTTP/1.0\r\nHost: x\r\n\r\n");
    assert!(raw.stdout.starts_with("HTTP/1.0 200"), "{raw:?}");
    // The same by flags, each file by its name.
    let file = |name: &str| path_text(&client.join(name)).to_owned();
    let flags = [
        "-H",
        &*address,
        "--tlsverify",
        "--tlscacert",
        &file("ca.pem"),
        "--tlscert",
        &file("cert.pem"),
        "--tlskey",
        &file("key.pem"),
        "version",
        "--format",
        "{{.Server.Os}}",
    ];
    assert_eq!(corten(&[], &flags, b"").stdout, "linux\n");
}

#[test]
fn who_is_not_known_is_told_so_and_nothing_is_sent() {
    let host = Host::start();
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, client, stranger) =
        (authority.sign("server"), authority.sign("client"), other.sign("stranger"));
    let nobody = tempfile::Builder::new().prefix("corten-nobody-").tempdir().unwrap();
    std::fs::copy(authority.certificate(), nobody.path().join("ca.pem")).unwrap();
    let address = format!("tcp://{}", door(&server, socket(&host)));
    let ask = |folder: &Path, flags: &[&str]| {
        let environment = [("DOCKER_HOST", &*address), ("DOCKER_CERT_PATH", path_text(folder))];
        corten(&environment, &[flags, &["ps", "-q"]].concat(), b"")
    };
    let expect = |outcome: Outcome, text: &str| {
        assert!(outcome.code == 1 && outcome.stderr.contains(text), "{text}: {outcome:?}");
    };
    // The daemon's certificate is by an authority that the client does not trust: that is found out by --tlsverify only.
    expect(ask(&stranger, &["--tlsverify"]), "invalid peer certificate: ");
    expect(ask(&stranger, &["--tls"]), "cannot connect to the daemon");
    assert_eq!(ask(&client, &["--tls"]).code, 0);
    // A certificate of one's own is wanted; whether the alert comes through before the connection is reset is chance.
    expect(ask(nobody.path(), &["--tlsverify"]), &format!("cannot connect to the daemon at {address}: "));
    // Files that are not there, or are no certificates.
    expect(ask(Path::new("/nonexistent"), &["--tlsverify"]), "/nonexistent/ca.pem");
    expect(ask(&client, &["--tlsverify", "--tlscert", "/nonexistent"]), "/nonexistent");
    expect(ask(&client, &["--tlsverify", "--tlskey", path_text(&client.join("cert.pem"))]), "cert.pem");
    // A client without TLS is heard by nobody, and a daemon without TLS is not taken for one with it.
    let plain = corten(&[("DOCKER_HOST", &*address)], &["ps"], b"");
    assert!(plain.code == 1 && !plain.stderr.is_empty(), "{plain:?}");
    expect(corten(&[], &["-H", "unix:///nonexistent", "--tls", "ps"], b""), "TLS is for daemons at tcp://");
    expect(corten(&[], &["-H", "tcp://127.0.0.1:1", "--tls", "ps"], b""), "Connection refused");
}

#[test]
fn a_daemon_is_reached_through_ssh() {
    let host = Host::start();
    let ssh = loopback_ssh(&executable("corten"), &host.address());
    let path = format!("{}:{}", ssh.path().display(), std::env::var("PATH").unwrap());
    let environment = [("PATH", &*path), ("DOCKER_HOST", "ssh://me@machine:99")];
    let told = corten(&environment, &["run", "--rm", "-i", "busybox", "sh", "-c", "cat; exit 7"], b"in\n");
    assert_eq!((told.code, &*told.stdout, &*told.stderr), (7, "in\n", ""));
    let much = vec![b'x'; 3 << 20];
    let told = corten(&environment, &["run", "--rm", "-i", "busybox", "cat"], &much);
    assert_eq!((told.code, told.stdout.len()), (0, much.len()), "{}", told.stderr);
    let words = std::fs::read_to_string(ssh.path().join("words")).unwrap();
    let usual = "-o ConnectTimeout=30 -T -l me -p 99 -- machine docker system dial-stdio";
    assert!(words.lines().all(|line| line == usual), "{words}");
    let socket = format!("ssh://machine{}", socket(&host).display());
    let told = corten(&[("PATH", &path)], &["-H", &socket, "version", "--format", "{{.Server.Os}}"], b"");
    assert_eq!(told.stdout, "linux\n", "{told:?}");
    let nowhere = corten(&[("PATH", &path)], &["-H", "ssh://nowhere", "ps"], b"");
    assert_eq!(nowhere.code, 1);
    for text in [
        "ssh: no such machine\n",
        "cannot connect to the daemon at ssh://nowhere: ssh has ended with exit status: 255",
    ] {
        assert!(nowhere.stderr.contains(text), "{nowhere:?}");
    }
    let without = corten(&[("PATH", "/nonexistent")], &["-H", "ssh://machine", "ps"], b"");
    assert!(without.stderr.contains("there is no `ssh` on this machine"), "{without:?}");
}
