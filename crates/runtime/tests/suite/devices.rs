//! `/dev` and terminals.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci::runtime_spec::Device;
use runtime::{Created, Exec, Exit, Stdio};

use crate::fixture::{Image, TERMINAL, chain, read, terminal, until_readable};

#[test]
fn standard_devices_work() {
    let script = "head -c 4 /dev/zero | hexdump -v -e '1/1 \"%d\"' 2>/dev/null; cat /dev/null; echo x > /dev/null; \
                  head -c 3 /dev/urandom > /tmp/x; stat -c '%a %t:%T' /dev/null /dev/tty /dev/full /dev/random";
    let output = Image::new().sh(script);
    assert!(output.ends_with("666 1:3\n666 5:0\n666 1:7\n666 1:8\n"), "{output}");
}

#[test]
fn standard_links_are_there() {
    let output = Image::new().sh(
        "cd /dev; for l in fd stdin stdout stderr core ptmx; do readlink $l; done; echo hello >> /dev/stdout",
    );
    assert_eq!(
        output,
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n/proc/kcore\npts/ptmx\nhello\n"
    );
}

#[test]
fn a_user_may_open_its_standard_output_again() {
    let mut image = Image::new();
    image.process().user.uid = 1000;
    assert_eq!(image.sh("echo again > /dev/stdout"), "again\n");
}

#[test]
fn shared_memory_and_message_queues_are_mounted() {
    let output = Image::new().sh("cat /proc/mounts");
    for expected in
        ["shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k", "mqueue /dev/mqueue mqueue"]
    {
        assert!(output.contains(expected), "{output}");
    }
}

#[test]
fn further_devices_are_made_with_owner_and_mode() {
    let mut image = Image::new();
    let device = |path: &str, kind: &str, minor| Device {
        kind: kind.into(),
        path: path.into(),
        major: 10,
        minor,
        file_mode: Some(0o640),
        uid: Some(7),
        gid: Some(8),
    };
    image.linux().devices = vec![device("/dev/net/tun", "c", 200), device("/odd/place", "c", 229)];
    let output = image.sh("stat -c '%F %a %u:%g %t:%T' /dev/net/tun /odd/place");
    assert_eq!(output, "character special file 640 7:8 a:c8\ncharacter special file 640 7:8 a:e5\n");
    image.linux().devices = vec![device("/dev/../etc/x", "c", 1)];
    assert!(image.refused().to_string().contains("/dev/../etc/x"));
    image.linux().devices = vec![device("/dev/x", "z", 1)];
    assert!(image.refused().to_string().contains("unknown type `z`"));
}

#[test]
fn a_link_as_dev_reaches_nothing_outside() {
    for target in ["/tmp", "../../../../../../../../tmp", "/etc/../..", "tmp"] {
        let mut image = Image::new();
        let outside = image.host_directory("outside");
        symlink(if target == "tmp" { outside.to_str().unwrap() } else { target }, image.path("dev")).unwrap();
        let before: Vec<_> = fs::read_dir("/tmp").unwrap().flatten().map(|entry| entry.file_name()).collect();
        // It resolves inside, or it is refused; either way nothing appears outside.
        if let Ok(Created { container, .. }) = image.args(&["/bin/true"]).try_create(Stdio::Null) {
            container.destroy().unwrap();
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{target}");
        for name in ["null", "ptmx", "console"] {
            let is_new = Path::new("/tmp").join(name).exists() && !before.iter().any(|old| old == name);
            assert!(!is_new, "/tmp/{name} was made by {target}");
        }
    }
}

#[test]
fn a_null_device_that_is_another_is_not_accepted() {
    let mut image = Image::new();
    let fake = image.host_directory("fake");
    File::create(fake.join("null")).unwrap();
    // /dev is the caller's, so nothing makes a device in it.
    image.spec.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
    image.mount("bind", &fake, "/dev", &["bind"]);
    let message = chain(&image.args(&["/bin/true"]).refused());
    assert!(message.contains("No such device"), "{message}");
}

#[test]
fn a_terminal_is_the_controlling_one_and_has_a_name() {
    let mut image = Image::new();
    image.args(&[
        "/bin/sh",
        "-c",
        "tty; stty size; stat -c %t:%T /dev/console; echo x > /dev/tty; ls /dev/pts",
    ]);
    let Created { mut container, terminal: master, .. } = image.try_create(TERMINAL).unwrap();
    container.start().unwrap();
    let mut master = terminal(master);
    assert_eq!(read(&mut master), "/dev/pts/0\r\n33 91\r\n88:0\r\nx\r\n0     ptmx\r\n");
    until_readable(container.pidfd());
    assert_eq!(container.try_wait().unwrap(), Some(Exit::Code(0)));
    container.destroy().unwrap();
}

#[test]
fn a_terminal_belongs_to_its_user_and_passes_signals() {
    let mut image = Image::new();
    image.process().user.uid = 1000;
    let script =
        "trap 'echo got it; exit 3' INT; stat -c %u /dev/pts/0; read x; echo $x; while :; do sleep 1; done";
    image.args(&["/bin/sh", "-c", script]);
    let Created { mut container, terminal: master, .. } = image.try_create(TERMINAL).unwrap();
    container.start().unwrap();
    let mut master = terminal(master);
    master.write_all(b"typed\n").unwrap();
    let mut seen = String::new();
    while seen.matches("typed").count() < 2 {
        seen.push_str(&read_some(&mut master));
    }
    assert!(seen.starts_with("1000") || seen.starts_with("typed"), "{seen:?}");
    master.write_all(&[3]).unwrap();
    until_readable(container.pidfd());
    assert_eq!(container.try_wait().unwrap(), Some(Exit::Code(3)));
    container.destroy().unwrap();
}

#[test]
fn exec_gets_a_terminal_of_the_container() {
    let mut image = Image::new();
    let mut running = image.sleeper();
    let process = running.process(&["/bin/sh", "-c", "tty; stty size; echo x > /dev/tty"]);
    let request = Exec {
        process: &process,
        stdio: TERMINAL,
        default_rlimits: &[],
        privileged: false,
        keep_keyring: false,
    };
    let mut made = running.container().exec(request).unwrap();
    let mut master = terminal(made.terminal.take());
    assert_eq!(read(&mut master), "/dev/pts/0\r\n33 91\r\nx\r\n");
    until_readable(&made.pidfd);
    assert_eq!(made.try_wait().unwrap(), Some(Exit::Code(0)));
}

fn read_some(file: &mut File) -> String {
    use std::io::Read;
    let mut chunk = [0; 256];
    let length = file.read(&mut chunk).unwrap();
    String::from_utf8_lossy(&chunk[..length]).into_owned()
}
