//! Logging in to a container whose sshd is published at port 1122.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{Host, Outcome, run_with_input};

/// A key of root's.
#[derive(Debug)]
pub struct Login {
    key: PathBuf,
}

impl Login {
    /// Makes the key in a folder.
    pub fn new(folder: &Path) -> Login {
        let key = folder.join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen is installed").success());
        Login { key }
    }

    /// Makes root of a running container take the key.
    pub fn let_into(&self, host: &Host, container: &str) {
        let authorize = "mkdir -p -m 700 /root/.ssh; cat > /root/.ssh/authorized_keys; chmod 600 /root/.ssh/authorized_keys";
        let public = std::fs::read(self.key.with_extension("pub")).expect("ssh-keygen wrote it");
        let given = host.run_with_input(&["exec", "-i", container, "sh", "-c", authorize], &public);
        assert_eq!(given.code, 0, "{given:?}");
    }

    /// What a command line says on the other side.
    pub fn says(&self, line: &str) -> Outcome {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-p", "1122", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
        ssh.args([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "ConnectTimeout=5",
            "-i",
        ]);
        ssh.arg(&self.key).args(["root@127.0.0.1", line]);
        run_with_input(ssh, b"")
    }
}
