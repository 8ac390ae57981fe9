//! A real server in a real distribution: Debian bookworm with redis-server.

use tests::host::{Host, fixture, path_text};
use tests::terminal::Terminal;

#[test]
fn redis_serves_keeps_its_data_and_stays_within_its_memory() {
    let host = Host::empty();
    host.ok(&[
        "import",
        "-c",
        "CMD [\"redis-server\", \"--dir\", \"/data\", \"--save\", \"3600 1\"]",
        path_text(&fixture("redis.tar")),
        "redis:bookworm",
    ]);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "redis",
        "--network",
        "none",
        "-m",
        "128m",
        "-v",
        "redis-data:/data",
        "redis:bookworm",
    ]);
    host.until("it answers", || host.run(&["exec", "redis", "redis-cli", "ping"]).stdout == "PONG\n");
    let mut client = Terminal::start(host.command(&["exec", "-it", "redis", "redis-cli"]));
    client.expect("127.0.0.1:6379>");
    client.press(b"set k1 v1\r");
    client.expect("OK");
    client.press(b"get k1\r");
    client.expect("\"v1\"");
    client.press(b"exit\r");
    assert_eq!(client.finish(), 0);
    assert_eq!(host.ok(&["inspect", "-f", "{{.HostConfig.Memory}}", "redis"]), "134217728");
    host.ok(&["exec", "redis", "redis-cli", "save"]);
    host.ok(&["rm", "-f", "redis"]);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "redis",
        "--network",
        "none",
        "-v",
        "redis-data:/data",
        "redis:bookworm",
    ]);
    host.until("the new one answers", || {
        host.run(&["exec", "redis", "redis-cli", "ping"]).stdout == "PONG\n"
    });
    assert_eq!(host.ok(&["exec", "redis", "redis-cli", "get", "k1"]), "v1");
    host.ok(&["stop", "redis"]);
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.ExitCode}}", "redis"]), "0", "redis stops politely");
}
