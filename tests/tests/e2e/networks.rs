//! Bridges, published ports and names, seen by those who use them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use tests::host::{Host, PATIENCE, fixture, path_text};
use tests::network::{Neighbour, page, said, stack};

const WELCOME: &str = "It works";
const SERVE: [&str; 5] = ["busybox", "httpd", "-f", "-h", "/var/www"];

fn is_full() -> bool {
    std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1")
}

/// Runs a web server in the background with these flags; its name.
fn serve(host: &Host, name: &str, flags: &[&str]) {
    let mut arguments = vec!["run", "-d", "--name", name];
    arguments.extend(flags);
    arguments.extend(SERVE);
    host.ok(&arguments);
}

/// The port in a line of `corten port`.
fn port_of(line: &str) -> &str {
    line.rsplit(':').next().unwrap_or_default()
}

fn address(host: &Host, name: &str) -> String {
    host.ok(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name])
}

/// Files that hold an address.
fn held_addresses(host: &Host) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for network in fs::read_dir(host.root().join("cni/networks")).into_iter().flatten().flatten() {
        let names = fs::read_dir(network.path()).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(names.filter(|name| name.parse::<std::net::IpAddr>().is_ok()));
    }
    found
}

/// Waits until links, addresses and rules are `before` again, and nothing but `addresses` is held.
fn is_as_before(host: &Host, before: &[String], addresses: &BTreeSet<String>) {
    let begin = Instant::now();
    let as_before = || (stack() == before, held_addresses(host) == *addresses);
    while as_before() != (true, true) {
        if begin.elapsed() > PATIENCE {
            let now = stack();
            let more: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
            let less: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
            panic!(
                "more: {more:#?}, less: {less:#?}, held: {:?}\n{}",
                held_addresses(host),
                host.daemon_log_tail()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_published_port_is_reachable_from_everywhere_and_gone_after_rm() {
    let host = Host::start();
    let neighbour = Neighbour::start();
    serve(&host, "warm", &[]);
    host.ok(&["rm", "-f", "warm"]);
    host.until("it is gone", || !stack().iter().any(|line| line.contains("veth")));
    let before = stack();
    serve(&host, "web", &["-p", "8080:80"]);
    assert_eq!(host.ok(&["port", "web"]), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
    for url in ["http://127.0.0.1:8080/", "http://[::1]:8080/", "http://192.0.2.1:8080/"] {
        assert!(page(url).contains(WELCOME), "{url} from the host");
    }
    let inside = format!("http://{}/", address(&host, "web"));
    assert!(page(&inside).contains(WELCOME), "{inside} from the host");
    assert!(neighbour.page("http://192.0.2.1:8080/").contains(WELCOME), "from another machine");
    for url in [inside.as_str(), "http://192.0.2.1:8080/"] {
        let seen = host.ok(&["run", "--rm", "busybox", "wget", "-qO-", url]);
        assert!(seen.contains(WELCOME), "{url} from another container");
    }
    let hairpin = host.ok(&["exec", "web", "wget", "-qO-", "http://192.0.2.1:8080/"]);
    assert!(hairpin.contains(WELCOME), "by hairpin");
    host.ok(&["rm", "-f", "web"]);
    assert_eq!(page("http://127.0.0.1:8080/"), "");
    is_as_before(&host, &before, &BTreeSet::new());
}

#[test]
fn udp_is_forwarded_and_random_ports_and_ranges_are_told() {
    const ECHO: &str = "my $s = IO::Socket::INET->new(LocalPort => 53, Proto => 'udp') or die; \
        while ($s->recv(my $m, 512)) { $s->send($m) }";
    let host = Host::empty();
    host.ok(&["import", path_text(&fixture("redis.tar")), "perl"]);
    let flags = ["run", "-d", "--name", "echo", "-p", "5353:53/udp", "-p", "80", "-p", "7000-7002:9000-9002"];
    host.ok(&[&flags[..], &["perl", "perl", "-MIO::Socket::INET", "-e", ECHO]].concat());
    let ports = host.ok(&["port", "echo"]);
    for line in ["53/udp -> 0.0.0.0:5353", "9001/tcp -> 0.0.0.0:7001"] {
        assert!(ports.contains(line), "{ports}");
    }
    let random = host.ok(&["port", "echo", "80"]);
    assert!(
        random.lines().all(|line| port_of(line).parse::<u16>().is_ok_and(|port| port >= 1024)),
        "{random}"
    );
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
    let mut answer = [0; 16];
    host.until("an answer comes back", || {
        socket.send_to(b"question", "127.0.0.1:5353").is_ok()
            && socket.recv(&mut answer).is_ok_and(|length| &answer[..length] == b"question")
    });
}

#[test]
fn who_holds_a_taken_port_is_named() {
    let host = Host::start();
    serve(&host, "first", &["-p", "127.0.0.1:8080:80"]);
    let mut second = vec!["run", "-d", "-p", "8080:80"];
    second.extend(SERVE);
    host.fails(&second, 125, "first");
    let listener = std::net::TcpListener::bind("0.0.0.0:8081").expect("a port");
    second[3] = "8081:80";
    let refused = host.fails(&second, 125, "8081");
    assert!(refused.stderr.contains(&std::process::id().to_string()), "{refused:?}");
    drop(listener);
    second[3] = "8081:80";
    host.ok(&second);
}

#[test]
fn containers_of_a_network_find_each_other_by_name_and_alias() {
    let mut host = Host::start();
    host.ok(&["network", "create", "--subnet", "10.91.0.0/24", "--gateway", "10.91.0.1", "mine"]);
    host.ok(&["network", "create", "other"]);
    serve(&host, "db", &["--network", "mine", "--ip", "10.91.0.77", "--network-alias", "data"]);
    assert_eq!(address(&host, "db"), "10.91.0.77");
    let ask = |host: &Host, network: &str, name: &str| {
        host.run(&[
            "run",
            "--rm",
            "--network",
            network,
            "busybox",
            "wget",
            "-qO-",
            &format!("http://{name}/"),
        ])
    };
    for name in ["db", "data"] {
        assert!(ask(&host, "mine", name).stdout.contains(WELCOME), "{name}");
    }
    assert_ne!(ask(&host, "other", "db").code, 0, "networks do not see each other");
    host.ok(&["network", "connect", "--alias", "guest", "other", "db"]);
    assert!(ask(&host, "other", "guest").stdout.contains(WELCOME));
    host.ok(&["network", "disconnect", "other", "db"]);
    assert_ne!(ask(&host, "other", "guest").code, 0);
    // Names of those who run do not need the daemon.
    host.ok(&["run", "-d", "--name", "client", "--network", "mine", "-p", "8080:80", "busybox", "sh", "-c",
        "mkdir /www; while ! [ -e /go ]; do sleep 0.05; done; wget -qO /www/index.html http://db/; httpd -f -h /www"]);
    let shared = format!("/proc/{}/root/go", host.ok(&["inspect", "-f", "{{.State.Pid}}", "client"]));
    host.kill_daemon();
    fs::write(shared, "").expect("the container's root");
    host.until("it has fetched by name and its port answers", || {
        page("http://127.0.0.1:8080/").contains(WELCOME)
    });
    host.start_daemon();
    assert!(page("http://127.0.0.1:8080/").contains(WELCOME));
    host.fails(&["network", "rm", "mine"], 1, "db");
    host.ok(&["rm", "-f", "db", "client"]);
    host.ok(&["network", "rm", "mine", "other"]);
}

#[test]
fn networks_are_closed_doubled_listed_and_pruned_as_asked() {
    let host = Host::start();
    let neighbour = Neighbour::start();
    host.ok(&["network", "create", "--internal", "closed"]);
    host.ok(&[
        "network",
        "create",
        "--ipv6",
        "--subnet",
        "10.92.0.0/24",
        "--subnet",
        "fd92::/64",
        "--ip-range",
        "10.92.0.128/25",
        "double",
    ]);
    serve(&host, "inside", &["--network", "closed", "-p", "8080:80"]);
    assert_eq!(neighbour.page("http://192.0.2.1:8080/"), "", "a closed network publishes nothing");
    let route = host.ok(&["exec", "inside", "ip", "route"]);
    assert!(!route.contains("default"), "{route}");
    serve(
        &host,
        "both",
        &[
            "--network",
            "double",
            "-P",
            "--expose",
            "80",
            "--hostname",
            "twin",
            "--add-host",
            "other:192.0.2.2",
        ],
    );
    assert!(address(&host, "both").starts_with("10.92.0."));
    let last: u8 =
        address(&host, "both").rsplit('.').next().and_then(|text| text.parse().ok()).expect("an address");
    assert!(last >= 128, "{last} is not of the range");
    let other =
        host.ok(&["run", "--rm", "--network", "double", "busybox", "wget", "-qO-", "http://[fd92::2]/"]);
    assert!(other.contains(WELCOME));
    let port = host.ok(&["port", "both", "80"]);
    for line in port.lines() {
        let url = format!(
            "http://{}:{}/",
            if line.starts_with('[') { "[::1]" } else { "127.0.0.1" },
            port_of(line)
        );
        assert!(page(&url).contains(WELCOME), "{url}");
    }
    let hosts = host.ok(&["exec", "both", "cat", "/etc/hosts"]);
    assert!(hosts.contains("192.0.2.2\tother") && hosts.contains("\ttwin"), "{hosts}");
    assert!(host.ok(&["exec", "both", "cat", "/etc/resolv.conf"]).contains("nameserver "));
    let listed = host.ok(&["network", "ls", "--format", "{{.Name}}"]);
    assert_eq!(listed, "bridge\nclosed\ndouble\nhost\nnone");
    assert!(
        host.root().join("cni/net.d").read_dir().expect("lists").flatten().count() >= 2,
        "conflists on disk"
    );
    host.ok(&["rm", "-f", "inside"]);
    let pruned = host.ok(&["network", "prune", "-f"]);
    assert!(pruned.contains("closed") && !pruned.contains("double"), "{pruned}");
}

#[test]
fn twenty_at_once_have_distinct_addresses_and_ports() {
    let host = Host::start();
    let starting: Vec<Child> = (0..20)
        .map(|number| {
            let name = format!("web{number}");
            let mut arguments = vec!["run", "-d", "--name", &name, "-p", "80"];
            arguments.extend(SERVE);
            host.command(&arguments).stdout(std::process::Stdio::null()).spawn().expect("corten runs")
        })
        .collect();
    for mut child in starting {
        assert!(child.wait().expect("it ends").success(), "{}", host.daemon_log_tail());
    }
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..20 {
        let name = format!("web{number}");
        addresses.insert(address(&host, &name));
        let port = host.ok(&["port", &name, "80"]);
        let port = port_of(port.lines().next().expect("a line")).to_owned();
        assert!(page(&format!("http://127.0.0.1:{port}/")).contains(WELCOME), "{name} at {port}");
        ports.insert(port);
    }
    assert_eq!((addresses.len(), ports.len()), (20, 20));
    assert_eq!(held_addresses(&host), addresses);
}

#[test]
fn many_in_a_row_leave_nothing() {
    let host = Host::start();
    let one = |host: &Host| host.ok(&["run", "--rm", "-p", "8080:80", "busybox", "true"]);
    one(&host);
    host.until("the first is gone", || !stack().iter().any(|line| line.contains("veth")));
    let before = stack();
    for _ in 0..if is_full() { 200 } else { 30 } {
        one(&host);
    }
    is_as_before(&host, &before, &BTreeSet::new());
}

#[test]
fn flushed_rules_and_removed_address_files_come_back() {
    let host = Host::start();
    let neighbour = Neighbour::start();
    serve(&host, "web", &["-p", "8080:80"]);
    let rules = stack();
    said("nft", &["flush", "ruleset"]);
    // A page alone would not show it: without rules, `corten-net` passes connections on.
    host.until("the rules are there again", || stack() == rules);
    assert!(neighbour.page("http://192.0.2.1:8080/").contains(WELCOME));
    let first = address(&host, "web");
    fs::remove_dir_all(host.root().join("cni/networks")).expect("the files are removed");
    let mut seen = BTreeSet::from([first]);
    for name in ["one", "two", "three"] {
        serve(&host, name, &[]);
        assert!(seen.insert(address(&host, name)), "an address was handed out twice");
    }
}

#[test]
fn a_daemon_killed_while_networks_change_leaves_nothing() {
    let mut host = Host::start();
    let seed: u64 = std::env::var("CORTEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    serve(&host, "stays", &["-p", "8080:80"]);
    let before = stack();
    let addresses = held_addresses(&host);
    for round in 0..if is_full() { 60 } else { 8 } {
        let mut children = Vec::new();
        for port in 0..3 {
            let publish = format!("{}:80", 9000 + port);
            let quiet = std::process::Stdio::null;
            let mut command = host.command(&["run", "--rm", "-p", &publish, "busybox", "true"]);
            children.push(command.stdout(quiet()).stderr(quiet()).spawn().expect("corten runs"));
        }
        // Anywhere in a container's life of some 150 ms.
        thread::sleep(Duration::from_millis(seed.wrapping_add(round).wrapping_mul(0x9E37_79B9) % 200));
        host.kill_daemon();
        for mut child in children {
            child.wait().expect("a client ends when its daemon does");
        }
        assert!(page("http://127.0.0.1:8080/").contains(WELCOME), "round {round}: the port needs no daemon");
        host.start_daemon();
        for id in host.ok(&["ps", "-aq", "-f", "ancestor=busybox"]).split_whitespace() {
            let name = host.run(&["inspect", "-f", "{{.Name}}", id]).stdout;
            if name.trim() != "/stays" {
                host.run(&["rm", "-f", id]);
            }
        }
        is_as_before(&host, &before, &addresses);
    }
}

#[test]
fn a_database_is_reached_by_name_and_keeps_its_data() {
    let host = Host::empty();
    host.ok(&["import", path_text(&fixture("mariadb.tar")), "mariadb:bookworm"]);
    host.ok(&["network", "create", "back"]);
    let start = |host: &Host| {
        host.ok(&[
            "run", "-d", "--name", "db", "--network", "back", "-v", "data:/var/lib/mysql", "mariadb:bookworm", "sh", "-c",
            "mkdir -p /run/mysqld && chown mysql /run/mysqld && exec mariadbd --user=mysql --bind-address=0.0.0.0",
        ]);
        host.until("the server answers", || host.run(&["exec", "db", "mariadb", "-e", "select 1"]).code == 0);
    };
    start(&host);
    host.ok(&[
        "exec",
        "db",
        "mariadb",
        "-e",
        "create database shop; create user u@'%' identified by 'p'; grant all on shop.* to u@'%'",
    ]);
    let query = |host: &Host, text: &str| {
        host.ok(&[
            "run",
            "--rm",
            "--network",
            "back",
            "mariadb:bookworm",
            "mariadb",
            "-hdb",
            "-uu",
            "-pp",
            "shop",
            "-Ne",
            text,
        ])
    };
    query(&host, "create table t (n int); insert into t values (42)");
    host.ok(&["stop", "db"]);
    host.ok(&["rm", "db"]);
    start(&host);
    assert_eq!(query(&host, "select n from t"), "42");
}
