//! What tests see of networks from the outside: fetched pages, another machine on the wire, what is on this machine's stack.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The page at `url`, asked for from where the test is; empty when nobody answers.
pub fn page(url: &str) -> String {
    fetched(Command::new("curl"), url)
}

fn fetched(mut command: Command, url: &str) -> String {
    let output = command.args(["-s", "--max-time", "10", url]).output().expect("curl is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `program` prints; it must succeed.
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Links, addresses and nft rules of the test's network namespace, one text each.
pub fn stack() -> Vec<String> {
    let mut found = Vec::new();
    for (program, arguments) in
        [("ip", &["-o", "link"] as &[&str]), ("ip", &["-o", "address"]), ("nft", &["list", "ruleset"])]
    {
        // A link's flags change as others come; its number and its name do not.
        let lines = said(program, arguments);
        found.extend(lines.lines().map(|line| {
            if arguments == ["-o", "link"] {
                line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
            } else {
                line.split("valid_lft").next().unwrap_or_default().trim_end().replace(" tentative", "")
            }
        }));
    }
    found
}

/// Another machine on the same wire: a network namespace at 192.0.2.2 that reaches the test's at 192.0.2.1.
#[derive(Debug)]
pub struct Neighbour(Child);

impl Neighbour {
    /// Lays the wire.
    pub fn start() -> Neighbour {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "1000"])
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare is installed");
        let pid = child.id().to_string();
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        let theirs = format!("/proc/{pid}/ns/net");
        while std::fs::read_link(&theirs).is_ok_and(|link| link == own) {
            thread::sleep(Duration::from_millis(2));
        }
        said("ip", &["link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", &pid]);
        said("ip", &["address", "add", "192.0.2.1/24", "dev", "wire0"]);
        said("ip", &["link", "set", "wire0", "up"]);
        said("nsenter", &["-t", &pid, "-n", "ip", "address", "add", "192.0.2.2/24", "dev", "wire1"]);
        said("nsenter", &["-t", &pid, "-n", "ip", "link", "set", "wire1", "up"]);
        Neighbour(child)
    }

    /// The page at `url`, asked for from there.
    pub fn page(&self, url: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n", "curl"]);
        fetched(command, url)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it is reaped");
    }
}
