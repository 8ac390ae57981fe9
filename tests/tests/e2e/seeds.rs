//! The documents that Corten was begun for: every `docker` and `nerdctl` line in them works as it is written, through links of these
//! names, and shows what the document shows. What the documents complain about is not so.
//!
//! The lines are in `seeds/lines.txt`. A test has run every line of its document when it ends, or fails. Images are stand-ins from
//! the fixtures; registries are on loopback. `sudo` is a script, because a test is root already.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tests::host::{Host, Outcome, enter_own_network, executable, fixture, path_text, run_with_input};
use tests::network::page;
use tests::registry::{LOGIN, Registry};
use tests::ssh::Login;
use tests::terminal::Terminal;

const LINES: &str = include_str!("seeds/lines.txt");

/// The keys that leave a container.
const DETACH: &[u8] = b"\x10\x11";

/// A document's lines, and a machine on which somebody follows it.
struct Seed {
    host: Host,
    lines: BTreeSet<&'static str>,
    followed: RefCell<BTreeSet<&'static str>>,
}

/// The lines below `[name]`.
fn lines_of(name: &str) -> BTreeSet<&'static str> {
    let heading = format!("[{name}]");
    let below = LINES.lines().skip_while(|line| *line != heading).skip(1);
    below.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect()
}

impl Seed {
    fn new(name: &str, host: Host) -> Seed {
        let bin = host.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        // One document calls nerdctl so.
        for link in ["docker", "nerdctl", "nerctrl"] {
            let target =
                if link == "nerctrl" { Path::new("nerdctl").to_owned() } else { executable("corten") };
            symlink(target, bin.join(link)).expect("a link");
        }
        fs::write(bin.join("sudo"), "#!/bin/sh\nexec \"$@\"\n").expect("a script");
        fs::set_permissions(bin.join("sudo"), fs::Permissions::from_mode(0o755)).expect("it may be executed");
        let lines = lines_of(name);
        assert!(!lines.is_empty(), "{name}");
        Seed { host, lines, followed: RefCell::default() }
    }

    /// Words for a shell in a folder of this machine, which has no CNI plugins.
    fn shell(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.host.path());
        command.env("PATH", format!("{}:{path}", self.host.path().join("bin").display()));
        command.env("DOCKER_HOST", self.host.address()).env("DOCKER_CONFIG", self.host.path().join("user"));
        command.env("CNI_PATH", "/nonexistent");
        command
    }

    /// A line of the document, crossed off.
    fn line(&self, line: &str) -> Command {
        let known = self.lines.get(line).unwrap_or_else(|| panic!("the document has no {line:?}"));
        self.followed.borrow_mut().insert(known);
        self.shell(line)
    }

    /// What any other line shows.
    fn says(&self, line: &str) -> String {
        succeeded(line, run_with_input(self.shell(line), b""))
    }

    /// What a line of the document shows; it succeeds.
    fn shows(&self, line: &str) -> String {
        succeeded(line, run_with_input(self.line(line), b""))
    }

    /// A line of the document on a terminal.
    fn terminal(&self, line: &str) -> Terminal {
        Terminal::start(self.line(line))
    }

    /// Fails unless the whole document was followed.
    fn finish(self) {
        let left: Vec<_> = self.lines.difference(&self.followed.borrow()).copied().collect();
        assert!(left.is_empty(), "not covered: {left:#?}");
    }
}

fn succeeded(line: &str, outcome: Outcome) -> String {
    assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
    outcome.stdout
}

/// Lists put at least three spaces between columns.
fn cells(line: &str) -> Vec<&str> {
    line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(cells).collect()
}

fn is_id(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Has the daemon find registries elsewhere: `(name, server, certificate)`.
fn host_that_finds(registries: &[(&str, String, Option<&Path>)]) -> (tempfile::TempDir, Host) {
    let hosts = tempfile::Builder::new().prefix("corten-certs-").tempdir().expect("a folder");
    for (name, server, certificate) in registries {
        fs::create_dir(hosts.path().join(name)).expect("a folder");
        let ca = certificate.map(|path| format!("ca = \"{}\"\n", path.display())).unwrap_or_default();
        fs::write(hosts.path().join(name).join("hosts.toml"), format!("server = \"{server}\"\n{ca}"))
            .expect("a file");
    }
    let host = Host::with_config(&format!("registry_hosts = [\"{}\"]", hosts.path().display()));
    (hosts, host)
}

/// Answers what `login` asks for.
fn log_in(mut terminal: Terminal) {
    terminal.expect("Username: ");
    terminal.press(format!("{}\r", LOGIN.0).as_bytes());
    terminal.expect("Password: ");
    terminal.press(format!("{}\r", LOGIN.1).as_bytes());
    terminal.expect("Login Succeeded");
    assert_eq!(terminal.finish(), 0);
}

const PS: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];

#[test]
fn docker_and_its_registries_as_the_page_about_installing_says() {
    enter_own_network();
    let (hub, harbor) = (Registry::plain(5000), Registry::secured(5443));
    let certificate = harbor.certificate();
    let (_hosts, host) = host_that_finds(&[
        ("docker.io", format!("http://{}", hub.host()), None),
        ("harbor.dev.com", format!("https://{}", harbor.host()), Some(&certificate)),
    ]);
    let busybox = fixture("busybox.tar");
    host.ok(&["import", "-c", "CMD [\"sleep\", \"1000\"]", path_text(&busybox), "pause"]);
    host.ok(&["push", "-q", "pause"]);
    host.ok(&["rmi", "pause"]);
    let seed = Seed::new("containerd-install-and-use", host);
    assert_eq!(rows(&seed.shows("docker images")), [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]]);
    let pulled = seed.shows("docker pull pause");
    assert!(
        pulled.starts_with("Using default tag: latest\nlatest: Pulling from library/pause\n"),
        "{pulled}"
    );
    assert!(
        pulled.ends_with("Status: Downloaded newer image for pause:latest\ndocker.io/library/pause:latest\n")
    );
    assert_eq!(seed.shows("docker tag pause pause-test"), "");
    let listed = seed.shows("docker images");
    let listed = rows(&listed);
    let names: BTreeSet<_> = listed[1..].iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(names, BTreeSet::from([("pause", "latest"), ("pause-test", "latest")]), "{listed:?}");
    assert!(is_id(listed[1][2], 12) && listed[1][2] == listed[2][2], "{listed:?}");
    let pushed = seed.shows("docker push pause-test");
    assert!(pushed.starts_with(
        "Using default tag: latest\nThe push refers to repository [docker.io/library/pause-test]\n"
    ));
    assert!(
        pushed.contains(&format!("latest: digest: {} size: ", hub.digest("library/pause-test"))),
        "{pushed}"
    );
    let id = seed.shows("docker run -d --name=pause pause-test");
    assert!(is_id(id.trim_end(), 64), "{id}");
    let listed = seed.shows("docker ps");
    let listed = rows(&listed);
    assert_eq!(listed[0], PS);
    assert_eq!(listed[1][..3], [&id[..12], "pause-test", "\"sleep 1000\""]);
    assert!(listed[1][4].starts_with("Up ") && listed[1][5] == "pause", "{listed:?}");
    // The page names no file; what Docker says to that, and what was meant.
    let refused = run_with_input(seed.line("docker load 镜像"), b"");
    assert!(
        refused.code == 1 && refused.stderr.contains("'docker load' accepts no arguments"),
        "{refused:?}"
    );
    seed.says("docker save pause -o pause.tar");
    assert_eq!(seed.says("docker load < pause.tar"), "Loaded image: pause:latest\n");

    let image = "harbor.dev.com/test/alpine:3.16.3-test";
    seed.says(&format!("nerdctl tag pause {image}"));
    let push = "nerdctl push harbor.dev.com/test/alpine:3.16.3-test";
    let refused = run_with_input(seed.shell(push), b"");
    assert!(refused.code == 1 && refused.stderr.contains("login"), "it says what to do: {refused:?}");
    log_in(seed.terminal("nerdctl login harbor.dev.com"));
    let pushed = seed.shows(push);
    assert!(pushed.contains("3.16.3-test: digest: sha256:"), "{pushed}");
    seed.says(&format!("nerdctl rmi {image}"));
    seed.says(&format!("nerdctl pull {image}"));
    seed.finish();
}

#[test]
fn logins_pulls_namespaces_and_networks_as_the_page_about_maxkey_wants_them() {
    enter_own_network();
    let hub = Registry::secured(5443);
    let certificate = hub.certificate();
    let (_hosts, host) =
        host_that_finds(&[("docker.io", format!("https://{}", hub.host()), Some(&certificate))]);
    let busybox = fixture("busybox.tar");
    let seed = Seed::new("maxkey-on-containerd", host);
    let refused = run_with_input(seed.shell("docker image pull mysql"), b"");
    assert!(refused.code == 1 && refused.stderr.contains("login"), "it says what to do: {refused:?}");
    log_in(seed.terminal("docker login"));
    for name in ["mysql", "nginx", "maxkeytop/maxkey"] {
        seed.host.ok(&["import", path_text(&busybox), name]);
        seed.says(&format!("docker push -q {name}"));
        seed.host.ok(&["rmi", name]);
    }
    for (line, name) in [
        ("docker image pull mysql", "library/mysql"),
        ("docker image pull maxkeytop/maxkey", "maxkeytop/maxkey"),
        ("nerctrl image pull docker.io/library/mysql", "library/mysql"),
        ("nerctrl image pull docker.io/library/nginx", "library/nginx"),
        ("nerctrl image pull docker.io/maxkeytop/maxkey", "maxkeytop/maxkey"),
    ] {
        let pulled = seed.shows(line);
        assert!(pulled.contains(&format!("Pulling from {name}\n")), "{pulled}");
        assert!(pulled.ends_with(&format!("\ndocker.io/{name}:latest\n")), "{pulled}");
    }
    let listed = seed.says("docker images --format '{{.Repository}}:{{.Tag}}'");
    let listed: BTreeSet<_> = listed.lines().collect();
    assert_eq!(listed, BTreeSet::from(["maxkeytop/maxkey:latest", "mysql:latest", "nginx:latest"]));

    // The login of one name is that of the others; what a pull lacks is told.
    seed.says("docker rmi mysql nginx maxkeytop/maxkey");
    seed.says("docker logout");
    assert_ne!(run_with_input(seed.shell("nerdctl image pull mysql"), b"").code, 0);
    log_in(seed.terminal("nerdctl login"));
    for line in ["nerdctl image pull", "nerdctl -n maxkey.top image pull"] {
        let refused = run_with_input(seed.line(line), b"");
        assert!(
            refused.code == 1 && refused.stderr.contains("'nerdctl image pull' requires 1 argument"),
            "{refused:?}"
        );
        seed.says(&format!("{line} mysql"));
    }
    let mut others = Vec::new();
    for line in ["nerdctl images -q", "nerdctl -n maxkey.top images -q"] {
        others.push(seed.says(line));
    }
    assert!(!others[0].is_empty() && others[0] == others[1], "one content for both: {others:?}");
    assert_eq!(seed.says("nerdctl namespace ls -q"), "default\nmaxkey.top\n");

    // Networks and ports need no plugins to be installed.
    seed.says("nerdctl network create maxkey");
    let run = "nerdctl -n maxkey.top run -d --name web --network maxkey -p 80:80 mysql httpd -f -h /var/www";
    seed.says(run);
    seed.host.until("the page is there", || page("http://127.0.0.1:80/").contains("It works"));
    assert_eq!(seed.says("nerdctl ps -q"), "");
    seed.says("nerdctl -n maxkey.top rm -f web");
    seed.says("nerdctl network rm maxkey");
    seed.finish();
}

#[test]
fn a_web_server_and_an_ssh_server_as_the_page_about_nerdctl_says() {
    let host = Host::empty();
    let nginx = fixture("nginx.tar");
    host.ok(&["import", "-c", "CMD [\"nginx\", \"-g\", \"daemon off;\"]", path_text(&nginx), "nginx:alpine"]);
    let systemd = fixture("systemd.tar");
    let sshd = "CMD [\"sh\", \"-c\", \"mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e\"]";
    host.ok(&["import", "-c", sshd, path_text(&systemd), "local:centos-stream-8-ssh"]);
    let seed = Seed::new("nerdctl", host);
    web_server(&seed);
    ssh_server(&seed);
    image_of_another_namespace(&seed);
    seed.finish();
}

fn web_server(seed: &Seed) {
    let id = seed.shows("sudo nerdctl run -d --name nginx -p 80:80 nginx:alpine");
    let listed = seed.shows("sudo nerdctl ps");
    let listed = rows(&listed);
    assert_eq!(listed[0], PS);
    assert_eq!(listed[1][..3], [&id[..12], "docker.io/library/nginx:alpine", "\"nginx -g 'daemon of…\""]);
    assert!(listed[1][4].starts_with("Up "), "{listed:?}");
    assert!(listed[1][5].starts_with("0.0.0.0:80->80/tcp") && listed[1][6] == "nginx", "{listed:?}");
    seed.host.until("the page is there", || page("http://127.0.0.1/").contains("Welcome to nginx"));
    seed.says("nerdctl rm -f nginx");
    seed.shows("nerdctl run -d --name nginx -p 8080:80 nginx:alpine");
    seed.host.until("the page is there, too", || page("http://127.0.0.1:8080/").contains("Welcome to nginx"));
    let mut shell = seed.terminal("sudo nerdctl exec -it nginx /bin/bash");
    shell.expect(":/# ");
    shell.press(b"ip link\r");
    shell.expect(": eth0@if");
    shell.expect("mtu 1500");
    shell.press(b"ip route\r");
    shell.expect("default via ");
    shell.expect(" dev eth0");
    shell.press(b"exit\r");
    assert_eq!(shell.finish(), 0);
    seed.says("nerdctl rm -f nginx");
}

/// A container that was begun on a terminal is left, ends, and starts again; the page could do none of it.
fn ssh_server(seed: &Seed) {
    let login = Login::new(seed.host.path());
    let says = |line: &str| login.says(line).stdout;
    let name = "centos-stream-8";
    let run = "-p 1122:22 --hostname centos-stream-8 --name centos-stream-8 local:centos-stream-8-ssh";
    let mut terminal = seed.terminal(&format!("sudo nerdctl run -it {run}"));
    terminal.expect("Server listening on 0.0.0.0 port 22");
    login.let_into(&seed.host, name);
    assert_eq!(says("hostname"), "centos-stream-8\n");
    terminal.press(DETACH);
    assert_eq!(terminal.finish(), 0, "it is left");
    assert_eq!(says("hostname"), "centos-stream-8\n", "it goes on");
    let mut terminal = Terminal::start(seed.shell("nerdctl attach centos-stream-8"));
    // What the server tells of a login is shown: the keys are its own now. SIGQUIT ends it.
    seed.host.until("it is attached", || says("true").is_empty() && terminal.screen().contains("Accepted"));
    terminal.press(b"\x1c");
    assert_ne!(terminal.finish(), 0);
    assert_eq!(seed.says("nerdctl ps -q"), "", "it has ended");
    assert_eq!(seed.shows("nerdctl start centos-stream-8"), "centos-stream-8\n");
    seed.host.until("one may log in again", || says("hostname") == "centos-stream-8\n");
    seed.says("nerdctl rm -f centos-stream-8");
    assert!(is_id(seed.shows(&format!("sudo nerdctl run -d {run}")).trim_end(), 64));
    login.let_into(&seed.host, name);
    seed.host.until("one may log in to the new one", || says("hostname") == "centos-stream-8\n");
    seed.says("nerdctl rm -f centos-stream-8");
}

/// An image that Kubernetes has is seen, saved and used without knowing where it is, and comes to another machine.
fn image_of_another_namespace(seed: &Seed) {
    let systemd = fixture("systemd.tar");
    let import = format!("nerdctl -n k8s.io import {} centos-stream-8-systemd", systemd.display());
    seed.says(&import);
    let titles = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "PLATFORM", "SIZE", "BLOB SIZE"];
    let here = seed.shows("nerdctl images");
    assert!(!here.contains("systemd"), "{here}");
    for line in ["nerdctl -n k8s.io images", "sudo nerdctl -n k8s.io images"] {
        let listed = seed.shows(line);
        let listed = rows(&listed);
        assert_eq!(listed[0], titles);
        assert_eq!(
            (listed[1][0], listed[1][1], listed[1][4]),
            ("centos-stream-8-systemd", "latest", PLATFORM)
        );
        assert!(is_id(listed[1][2], 12) && listed[1][3].ends_with(" ago"), "{listed:?}");
        assert!(listed[1][5].ends_with(" MiB") && listed[1][6].ends_with(" MiB"), "{listed:?}");
    }
    // What is not taken unasked is found in a word: the message says where it is.
    for verb in ["run --pull never", "image inspect", "rmi", "tag"] {
        let line =
            format!("nerdctl {verb} centos-stream-8-systemd {}", if verb == "tag" { "other" } else { "" });
        let told = run_with_input(seed.shell(&line), b"");
        assert!(told.code != 0 && told.stderr.contains("use `-n k8s.io`"), "{line}: {told:?}");
    }
    seed.shows("sudo nerdctl save centos-stream-8-systemd > centos-stream-8-systemd.tar");
    let node = Seed::new("nerdctl", Host::empty());
    let archive = "centos-stream-8-systemd.tar";
    fs::rename(seed.host.path().join(archive), node.host.path().join(archive))
        .expect("the archive goes there");
    let load = "sudo nerdctl -n k8s.io load < centos-stream-8-systemd.tar";
    let loaded = run_with_input(node.line(load), b"");
    assert_eq!((loaded.code, loaded.stdout.as_str()), (0, "Loaded image: centos-stream-8-systemd:latest\n"));
    seed.followed.borrow_mut().extend(node.followed.borrow().iter());
    let run = "run --rm --pull never centos-stream-8-systemd cat /etc/debian_version";
    assert!(node.says(&format!("nerdctl -n k8s.io {run}")).starts_with("12."), "bookworm");
}

const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };

#[test]
fn images_and_containers_as_the_page_about_docker_and_kubernetes_says() {
    enter_own_network();
    let hub = Registry::plain(5000);
    let (_hosts, host) = host_that_finds(&[("docker.io", format!("http://{}", hub.host()), None)]);
    let nginx = fixture("nginx.tar");
    host.ok(&["import", "-c", "CMD [\"/bin/bash\"]", path_text(&nginx), "centos"]);
    host.ok(&["push", "-q", "centos"]);
    host.ok(&["rmi", "centos"]);
    let seed = Seed::new("why-kubernetes-left-docker", host);
    assert!(seed.shows("docker pull centos").ends_with("\ndocker.io/library/centos:latest\n"));
    let listed = seed.shows("docker images");
    let listed = rows(&listed);
    assert_eq!((listed[1][0], listed[1][1], is_id(listed[1][2], 12)), ("centos", "latest", true));
    assert_eq!(seed.shows("docker save -o centos.tar.gz centos"), "");
    assert_eq!(seed.shows("docker load -i centos.tar.gz"), "Loaded image: centos:latest\n");
    assert!(seed.shows("docker rmi -f centos:latest").starts_with("Untagged: centos:latest\n"));
    assert_eq!(seed.says("docker images -q"), "");
    seed.says("docker load -i centos.tar.gz");
    assert!(seed.shows("docker --help").starts_with("Usage:  docker [OPTIONS] COMMAND"));
    shells(&seed);
    nginx_in_centos(&seed);
    seed.finish();
}

fn shells(seed: &Seed) {
    let mut shell = seed.terminal("docker run --name=hello -it centos /bin/bash");
    shell.expect("root@");
    let id = seed.says("docker ps -q --filter name=hello");
    shell.expect(&format!("{}:/# ", id.trim_end()));
    shell.press(b"exit\r");
    assert_eq!(shell.finish(), 0);
    assert_eq!(seed.says("docker ps -q"), "", "its shell was the container");
    // It can be started again, on its terminal.
    let mut shell = Terminal::start(seed.shell("docker start -ai hello"));
    shell.press(b"exit 3\r");
    assert_eq!(shell.finish(), 3);

    let id = seed.shows("docker run --name=hello1 -td centos");
    let row = seed.shows("docker ps |grep hello1");
    let row = cells(&row);
    assert_eq!((row[0], row[1], row[2]), (&id[..12], "centos", "\"/bin/bash\""));
    assert_eq!(row.last(), Some(&"hello1"));
    assert_eq!(rows(&seed.shows("docker ps"))[0], PS);
    for _ in ["at first", "after a stop"] {
        let mut shell = seed.terminal("docker exec -it hello1 /bin/bash");
        shell.expect(&format!("root@{}:/# ", &id[..12]));
        shell.press(b"exit\r");
        assert_eq!(shell.finish(), 0);
        assert_eq!(seed.shows("docker stop hello1"), "hello1\n");
        assert_eq!(seed.shows("docker start hello1"), "hello1\n");
    }
    assert_eq!(seed.shows("docker rm -f hello1"), "hello1\n");
    seed.says("docker rm hello");
}

/// A port of the host is chosen; what listens behind it may come later.
fn nginx_in_centos(seed: &Seed) {
    seed.shows("docker run --name nginx -p  80 -itd centos");
    let row = seed.shows("docker ps | grep nginx");
    let row = cells(&row);
    assert_eq!((row[1], row[2], row[6]), ("centos", "\"/bin/bash\"", "nginx"));
    assert!(row[4].starts_with("Up "), "{row:?}");
    let (port, rest) =
        row[5].strip_prefix("0.0.0.0:").and_then(|text| text.split_once("->")).expect("a port");
    assert!(rest.starts_with("80/tcp") && port.parse::<u16>().is_ok_and(|port| port >= 32768), "{row:?}");
    let mut shell = seed.terminal("docker exec -it nginx /bin/bash");
    shell.expect(":/# ");
    shell.press(b"ip addr\r");
    shell.expect(": eth0@if");
    shell.expect("inet 172.17.0.");
    shell.press(b"echo 'my name is steel' > /var/www/html/index.html; /usr/sbin/nginx; echo served=$?\r");
    shell.expect("served=0");
    shell.press(b"exit\r");
    assert_eq!(shell.finish(), 0);
    let address = seed.says("docker inspect -f '{{.NetworkSettings.IPAddress}}' nginx");
    for url in [format!("http://127.0.0.1:{port}/"), format!("http://{}:80/", address.trim_end())] {
        assert_eq!(page(&url), "my name is steel\n", "{url}");
    }
    seed.says("docker rm -f nginx");
}
