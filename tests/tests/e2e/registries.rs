//! Images that come from registries and go there, also over bad roads.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tests::host::{Host, enter_own_network, fixture, path_text, run_with_input};
use tests::network::{Neighbour, page, said, stack};
use tests::registry::{LOGIN, Nuisance, Registry};

const WELCOME: &str = "Welcome to nginx";
const NGINX: [&str; 3] = ["nginx", "-g", "daemon off;"];
const BUSY: &str =
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const LIMITED: &str =
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("corten-certs-").tempdir().expect("a folder")
}

fn host_that_knows(hosts: &Path) -> Host {
    Host::with_config(&format!("registry_hosts = [\"{}\"]", hosts.display()))
}

fn write_hosts(hosts: &Path, host: &str, text: &str) {
    fs::create_dir_all(hosts.join(host)).expect("a folder");
    fs::write(hosts.join(host).join("hosts.toml"), text).expect("a file");
}

#[test]
fn a_web_server_is_pulled_started_reached_and_gone() {
    let host = Host::empty();
    let neighbour = Neighbour::start();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("nginx.tar"), "nginx");
    let image = format!("{}/nginx", registry.host());
    host.ok(&["pull", "-q", &image]);
    host.ok(&["run", "--rm", &image, "true"]);
    host.ok(&["rmi", &image]);
    host.until("the first is gone", || !stack().iter().any(|line| line.contains("veth")));
    let before = stack();
    let arguments = ["run", "-d", "--name", "nginx", "-p", "8080:80", &image];
    let started = host.run(&[&arguments[..], &NGINX].concat());
    assert_eq!(started.code, 0, "{started:?}");
    assert!(
        started.stderr.contains("Pulling from nginx") && started.stderr.contains("Digest: sha256:"),
        "{started:?}"
    );
    host.until("it answers on the host", || page("http://127.0.0.1:8080/").contains(WELCOME));
    assert!(neighbour.page("http://192.0.2.1:8080/").contains(WELCOME));
    host.ok(&["import", path_text(&fixture("busybox.tar")), "busybox"]);
    let seen = host.ok(&["run", "--rm", "busybox", "wget", "-qO-", "http://192.0.2.1:8080/"]);
    assert!(seen.contains(WELCOME));
    assert!(host.ok(&["exec", "nginx", "ip", "addr"]).contains("eth0"));
    host.ok(&["rm", "-f", "nginx"]);
    host.until("nothing of it is left", || stack() == before);
    let held = host.root().join("cni/networks/bridge");
    let files = fs::read_dir(held).expect("the folder").flatten().map(|entry| entry.file_name());
    let files: Vec<_> = files.filter(|name| name.to_string_lossy().starts_with("172")).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn a_container_reaches_the_world() {
    let host = Host::on_machine("");
    host.ok(&["import", path_text(&fixture("nginx.tar")), "debian"]);
    let updated = host.ok(&["run", "--rm", "debian", "apt-get", "update"]);
    assert!(updated.contains("Reading package lists"), "{updated}");
    assert!(!updated.contains("Err:"), "{updated}");
}

#[test]
fn what_is_pushed_is_read_by_others_and_theirs_by_us_with_the_same_digests() {
    let host = Host::start();
    let registry = Registry::plain(5000);
    let ours = format!("{}/team/busybox:1", registry.host());
    host.ok(&["tag", "busybox", &ours]);
    let pushed = host.ok(&["push", &ours]);
    let digest = registry.digest("team/busybox:1");
    assert!(pushed.contains(&format!("digest: {digest}")), "{pushed}");
    let copied = folder();
    let target = format!("dir:{}", copied.path().display());
    let source = format!("docker://{ours}");
    said("skopeo", &["copy", "-q", "--insecure-policy", "--src-tls-verify=false", &source, &target]);
    registry.fill(&fixture("busybox.tar"), "theirs:1");
    let theirs = format!("{}/theirs:1", registry.host());
    let pulled = host.ok(&["pull", &theirs]);
    assert!(pulled.contains(&registry.digest("theirs:1")), "{pulled}");
    assert_eq!(host.ok(&["run", "--rm", &theirs, "echo", "ran"]), "ran");
    // Back again: not a byte has changed.
    let back = format!("{}/back:1", registry.host());
    host.ok(&["tag", &theirs, &back]);
    host.ok(&["push", "-q", &back]);
    assert_eq!(registry.digest("back:1"), registry.digest("theirs:1"));
    let by_digest = format!("{}/back@{}", registry.host(), registry.digest("back:1"));
    host.ok(&["pull", "-q", &by_digest]);
}

#[test]
fn a_registry_with_tls_and_passwords_is_used_after_login_only() {
    enter_own_network();
    let (hosts, home) = (folder(), folder());
    let registry = Registry::secured(5443);
    let image = format!("{}/private/busybox", registry.host());
    let host = host_that_knows(hosts.path());
    host.ok(&["import", path_text(&fixture("busybox.tar")), &image]);
    let corten = |arguments: &[&str], input: &str| {
        let mut command = host.command(arguments);
        command.env("DOCKER_CONFIG", home.path());
        run_with_input(command, input.as_bytes())
    };
    let unknown = corten(&["push", &image], "");
    assert!(unknown.code == 1 && unknown.stderr.contains("certificate"), "{unknown:?}");
    let trusted = hosts.path().join(registry.host());
    fs::create_dir_all(&trusted).expect("a folder");
    fs::copy(registry.certificate(), trusted.join("ca.crt")).expect("a copy");
    let refused = corten(&["push", &image], "");
    assert!(refused.code == 1 && refused.stderr.contains(registry.host()), "{refused:?}");
    assert!(refused.stderr.contains("login"), "it says what to do: {refused:?}");
    let wrong = corten(&["login", "-u", LOGIN.0, "--password-stdin", registry.host()], "wrong");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let login = corten(&["login", "-u", LOGIN.0, "--password-stdin", registry.host()], LOGIN.1);
    assert!(login.code == 0 && login.stdout.contains("Login Succeeded"), "{login:?}");
    let pushed = corten(&["push", "-q", &image], "");
    assert_eq!(pushed.code, 0, "{pushed:?}");
    host.ok(&["rmi", &image]);
    let pulled = corten(&["pull", "-q", &image], "");
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert_eq!(corten(&["logout", registry.host()], "").code, 0);
    host.ok(&["rmi", &image]);
    assert_eq!(corten(&["pull", &image], "").code, 1);
    let log = fs::read_to_string(host.path().join("daemon.log")).expect("the log");
    assert!(!log.contains(LOGIN.1), "a password is in the log");
}

#[test]
fn a_mirror_that_is_down_is_passed_over_and_named_when_nobody_has_it() {
    enter_own_network();
    let hosts = folder();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let server = format!("server = \"http://{}\"\n", registry.host());
    write_hosts(hosts.path(), "images.test", &format!("{server}[host.\"http://127.0.0.1:5001\"]\n"));
    let host = host_that_knows(hosts.path());
    host.ok(&["pull", "-q", "images.test/busybox:1"]);
    let missing = host.fails(&["pull", "images.test/nothing:1"], 1, "127.0.0.1:5001");
    assert!(missing.stderr.contains(registry.host()), "each host is named: {missing:?}");
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says_so_and_a_limit_is_told_at_once() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let busy = Nuisance::answering(5001, 5000, 2, BUSY);
    let host = Host::empty();
    host.ok(&["pull", "-q", "127.0.0.1:5001/busybox:1"]);
    assert!(busy.connections() > 2, "it was asked again");
    Nuisance::answering(5002, 5000, usize::MAX, LIMITED);
    let begin = Instant::now();
    let refused = host.fails(&["pull", "127.0.0.1:5002/busybox:1"], 1, "127.0.0.1:5002");
    assert!(refused.stderr.to_lowercase().contains("too many requests"), "{refused:?}");
    assert!(begin.elapsed() < tests::host::PATIENCE, "an hour is not waited for");
}

#[test]
fn a_connection_that_is_cut_after_every_megabyte_still_brings_the_image() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("redis.tar"), "redis:1");
    let cutting = Nuisance::cutting(5001, 5000, 1 << 20);
    let host = Host::empty();
    let pulled = host.ok(&["pull", "127.0.0.1:5001/redis:1"]);
    assert!(pulled.contains(&registry.digest("redis:1")), "{pulled}");
    assert!(cutting.connections() > 20, "{} connections", cutting.connections());
    assert_eq!(host.ok(&["run", "--rm", "127.0.0.1:5001/redis:1", "echo", "whole"]), "whole");
}

#[test]
fn a_pull_that_is_killed_may_be_repeated_and_two_at_once_share_what_comes() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("redis.tar"), "redis:1");
    let mut host = Host::empty();
    let image = format!("{}/redis:1", registry.host());
    let mut first =
        host.command(&["pull", &image]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("corten");
    std::thread::sleep(std::time::Duration::from_millis(300));
    host.kill_daemon();
    first.wait().expect("it ends");
    host.start_daemon();
    let both: Vec<_> = (0..2)
        .map(|_| host.command(&["pull", "-q", &image]).stdout(Stdio::null()).spawn().expect("corten"))
        .collect();
    for mut one in both {
        assert!(one.wait().expect("it ends").success(), "{}", host.daemon_log_tail());
    }
    assert_eq!(host.ok(&["run", "--rm", &image, "echo", "whole"]), "whole");
    host.ok(&["rmi", "-f", &image]);
    host.ok(&["image", "prune", "-af"]);
    let blobs = host.root().join("content/blobs/sha256");
    let left: Vec<_> =
        fs::read_dir(&blobs).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_token_is_fetched_where_the_registry_says() {
    const CHALLENGE: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:5002/token\",\
        service=\"images\",scope=\"repository:busybox:pull\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const TOKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\nConnection: close\r\n\r\n\
        {\"token\":\"abcde\"}";
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    // The first connection tries TLS, and sees that it is not spoken here.
    let door = Nuisance::answering(5001, 5000, 2, CHALLENGE);
    let tokens = Nuisance::answering(5002, 5000, usize::MAX, TOKEN);
    let host = Host::empty();
    host.ok(&["pull", "-q", "127.0.0.1:5001/busybox:1"]);
    assert!(door.connections() > 2);
    assert_eq!(tokens.connections(), 1, "one token serves the whole image");
}

#[test]
fn the_proxy_of_the_asking_shell_is_used() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    // It passes requests on to the only server that it knows.
    let proxy = Nuisance::cutting(3128, 5000, u64::MAX);
    let host = Host::with_config("registry_insecure = [\"images.test:5000\"]");
    let image = "images.test:5000/busybox:1";
    let alone = host.run(&["pull", image]);
    assert!(alone.code == 1 && alone.stderr.contains("images.test"), "{alone:?}");
    let pull = |no_proxy: &str| {
        let mut command = host.command(&["pull", "-q", image]);
        command.env("HTTP_PROXY", "http://127.0.0.1:3128").env("NO_PROXY", no_proxy);
        run_with_input(command, b"")
    };
    assert_eq!(pull("images.test").code, 1);
    assert_eq!(proxy.connections(), 0);
    let pulled = pull("");
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(proxy.connections() > 0);
}

#[test]
fn a_credential_helper_keeps_the_password() {
    enter_own_network();
    let home = folder();
    let registry = Registry::secured(5443);
    let trusted = home.path().join(registry.host());
    fs::create_dir_all(&trusted).expect("a folder");
    fs::copy(registry.certificate(), trusted.join("ca.crt")).expect("a copy");
    let helper = home.path().join("docker-credential-shelf");
    // Docker's protocol: one word as argument, the rest on standard input and output.
    let script = "#!/bin/sh\ncase $1 in store) cat > \"$SHELF\";; get) cat \"$SHELF\";; erase) rm \"$SHELF\";; list) echo {};; esac\n";
    fs::write(&helper, script).expect("a file");
    said("chmod", &["+x", path_text(&helper)]);
    fs::write(home.path().join("config.json"), "{\"credsStore\":\"shelf\"}").expect("a file");
    let host = host_that_knows(home.path());
    let shelf = home.path().join("shelf");
    let corten = |arguments: &[&str], input: &str| {
        let mut command = host.command(arguments);
        let path = format!("{}:{}", home.path().display(), std::env::var("PATH").expect("a path"));
        command.env("DOCKER_CONFIG", home.path()).env("SHELF", &shelf).env("PATH", path);
        run_with_input(command, input.as_bytes())
    };
    let login = corten(&["login", "-u", LOGIN.0, "--password-stdin", registry.host()], LOGIN.1);
    assert_eq!(login.code, 0, "{login:?}");
    assert!(fs::read_to_string(&shelf).expect("it was stored").contains(LOGIN.1));
    let config = fs::read_to_string(home.path().join("config.json")).expect("a file");
    assert!(!config.contains("\"auth\":"), "{config}");
    let image = format!("{}/private/busybox", registry.host());
    host.ok(&["import", path_text(&fixture("busybox.tar")), &image]);
    let pushed = corten(&["push", "-q", &image], "");
    assert_eq!(pushed.code, 0, "{pushed:?}");
    assert_eq!(corten(&["logout", registry.host()], "").code, 0);
    assert!(!shelf.exists());
}

#[test]
fn a_registry_that_offers_it_is_searched() {
    const FOUND: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 139\r\nConnection: close\r\n\r\n\
        {\"num_results\":1,\"query\":\"web\",\"results\":[{\"name\":\"team/web\",\"description\":\"A web server\",\
        \"star_count\":7,\"is_official\":false,\"x\":\"12345\"}]}";
    enter_own_network();
    let registry = Registry::plain(5000);
    Nuisance::answering(5001, 5000, usize::MAX, FOUND);
    let host = Host::empty();
    let found = host.ok(&["search", "127.0.0.1:5001/web"]);
    assert!(found.contains("team/web") && found.contains("A web server"), "{found}");
    let refused = host.fails(&["search", &format!("{}/web", registry.host())], 1, registry.host());
    assert_eq!(refused.stdout, "");
}

#[test]
fn a_mirror_that_sends_wrong_bytes_is_passed_over_and_named() {
    enter_own_network();
    let hosts = folder();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let lying = Nuisance::corrupting(5001, 5000, 100 << 10);
    let server = format!("server = \"http://{}\"\n", registry.host());
    let mirror = "[host.\"http://127.0.0.1:5001\"]\n";
    write_hosts(hosts.path(), "images.test", &format!("{server}{mirror}"));
    write_hosts(hosts.path(), "lies.test", "server = \"http://127.0.0.1:5001\"\n");
    let host = host_that_knows(hosts.path());
    host.fails(&["pull", "lies.test/busybox:1"], 1, "127.0.0.1:5001: what it sent is not what was asked for");
    host.ok(&["pull", "-q", "images.test/busybox:1"]);
    assert!(lying.connections() > 2, "the mirror was asked");
    assert_eq!(host.ok(&["run", "--rm", "images.test/busybox:1", "echo", "whole"]), "whole");
}

#[test]
fn an_upload_that_is_cut_is_begun_again() {
    enter_own_network();
    let registry = Registry::plain(5000);
    let cutting = Nuisance::cutting_an_upload(5001, 5000, 300 << 10);
    let host = Host::start();
    host.ok(&["tag", "busybox", "127.0.0.1:5001/busybox:1"]);
    host.ok(&["push", "-q", "127.0.0.1:5001/busybox:1"]);
    assert!(cutting.connections() > 2, "{} connections", cutting.connections());
    host.ok(&["rmi", "127.0.0.1:5001/busybox:1", "busybox"]);
    let image = format!("{}/busybox:1", registry.host());
    assert_eq!(host.ok(&["run", "--rm", "-q", &image, "echo", "whole"]), "whole");
}

#[test]
fn an_image_of_another_platform_than_asked_is_refused() {
    enter_own_network();
    let registry = Registry::plain(5000);
    registry.fill(&fixture("busybox.tar"), "busybox:1");
    let host = Host::empty();
    let image = format!("{}/busybox:1", registry.host());
    let refused = host.fails(&["pull", "--platform", "linux/s390x", &image], 1, "linux/s390x");
    assert!(refused.stderr.contains("linux/amd64") || refused.stderr.contains("linux/arm64"), "{refused:?}");
    host.ok(&["pull", "-q", &image]);
}
