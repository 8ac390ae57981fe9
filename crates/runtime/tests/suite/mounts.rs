//! The tree: root, volumes, options, what an image may not redirect.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::{Image, chain};

#[test]
fn the_old_root_is_gone() {
    let output = Image::new().sh("cut -d' ' -f5 /proc/self/mountinfo | head -n 1; ls /; cat /proc/mounts");
    assert!(output.starts_with("/\nbin\ndev\netc\nproc\nsys\ntmp\n"), "{output}");
    assert!(!output.contains("/dev/vda"), "{output}");
}

#[test]
fn writes_go_to_the_upper_directory() {
    let mut image = Image::new();
    image.sh("echo new > /etc/new");
    assert!(!image.path("etc/new").exists());
    assert_eq!(image.sh("cat /etc/new"), "new\n");
}

#[test]
fn a_read_only_root_cannot_be_written_but_its_volumes_can() {
    let mut image = Image::new();
    image.spec.root = Some(oci::runtime_spec::Root { path: "".into(), readonly: true });
    image.mount("tmpfs", Path::new("tmpfs"), "/tmp", &[]);
    let output =
        image.args(&["/bin/sh", "-c", "touch /x; touch /etc/x; touch /tmp/x && touch /dev/shm/x"]).run();
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{output:?}");
    assert_eq!(output.exit, runtime::Exit::Code(0));
}

#[test]
fn volumes_are_bound_for_reading_or_writing() {
    let mut image = Image::new();
    let volume = image.host_directory("volume");
    fs::write(volume.join("file"), "host\n").unwrap();
    image.mount("bind", &volume, "/writable/deep", &["rbind", "rw"]);
    image.mount("bind", &volume, "/fixed", &["rbind", "ro"]);
    image.mount("bind", &volume.join("file"), "/etc/file", &["bind", "nosuid"]);
    let script = "cat /fixed/file /etc/file; touch /fixed/x; echo inside > /writable/deep/new; cat /fixed/new; \
                  grep /fixed /proc/mounts | grep -c ' ro,'; grep /etc/file /proc/mounts | grep -c nosuid";
    let output = image.args(&["/bin/sh", "-c", script]).run();
    assert_eq!(output.stdout, "host\nhost\ninside\n1\n1\n");
    assert!(output.stderr.contains("Read-only file system"), "{output:?}");
    assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "inside\n");
    // A read-only copy must not have made the host's own mount read-only.
    fs::write(volume.join("still"), "writable").unwrap();
}

#[test]
fn a_recursive_read_only_mount_covers_what_is_below() {
    let mut image = Image::new();
    let volume = image.host_directory("volume");
    image.mount("bind", &volume, "/one", &["rbind", "rro"]);
    let output = image.args(&["/bin/touch", "/one/x"]).run();
    assert!(output.stderr.contains("Read-only file system"), "{output:?}");
}

#[test]
fn options_of_tmpfs_are_in_force() {
    let mut image = Image::new();
    image.mount(
        "tmpfs",
        Path::new("tmpfs"),
        "/scratch",
        &["rw", "noexec", "nosuid", "size=64k", "mode=1770", "uid=3"],
    );
    let script = "grep /scratch /proc/mounts; stat -c '%a %u' /scratch; head -c 100000 /dev/zero > /scratch/x; \
                  cp /bin/busybox /scratch/ 2>/dev/null; echo 'exit 0' > /scratch/s; chmod +x /scratch/s; /scratch/s";
    let output = image.args(&["/bin/sh", "-c", script]).run();
    let expected = "tmpfs /scratch tmpfs rw,nosuid,noexec,relatime,size=64k,mode=1770,uid=3 0 0\n1770 3\n";
    // Some kernels are built to say that inode numbers are wide.
    assert_eq!(output.stdout.replace(",inode64", ""), expected, "{output:?}");
    assert!(
        output.stderr.contains("No space left") && output.stderr.contains("Permission denied"),
        "{output:?}"
    );
    image.spec.mounts.last_mut().unwrap().options.push("nonsense=1".into());
    let message = chain(&image.refused());
    assert!(message.starts_with("cannot mount `tmpfs` on `/scratch`: "), "{message}");
}

#[test]
fn a_link_as_proc_or_sys_is_refused() {
    for name in ["proc", "sys"] {
        let mut image = Image::new();
        symlink("/tmp", image.path(name)).unwrap();
        let message = chain(&image.args(&["/bin/true"]).refused());
        assert_eq!(message, format!("cannot mount on `/{name}`: the image has a symbolic link there"));
    }
}

#[test]
fn targets_of_volumes_cannot_leave_the_root() {
    let mut image = Image::new();
    let outside = image.host_directory("outside");
    let volume = image.host_directory("volume");
    fs::write(volume.join("mark"), "").unwrap();
    symlink(&outside, image.path("absolute")).unwrap();
    symlink("../../../../../../..", image.path("relative")).unwrap();
    let destination = format!("/relative{}/deep", outside.display());
    image.mount("bind", &volume, &destination, &["bind"]);
    image.sh(&format!("test -e {}/deep/mark", outside.display()));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    image.spec.mounts.pop();
    image.mount("bind", &volume, "/absolute/deep", &["bind"]);
    // Inside, the link's target does not exist, or it does because the first container made it: both are inside.
    let _ = image.args(&["/bin/true"]).try_create(runtime::Stdio::Null).map(|made| made.container.destroy());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn mounts_inside_do_not_reach_the_host() {
    let mut image = Image::new();
    let volume = image.host_directory("volume");
    image.mount("bind", &volume, "/volume", &["rbind"]);
    image.mount("tmpfs", Path::new("tmpfs"), "/volume/inner", &[]);
    let mut running = image.sleeper();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!text.contains(volume.to_str().unwrap()), "{text}");
    running.sh("touch /volume/inner/x");
    assert_eq!(fs::read_dir(volume.join("inner")).unwrap().count(), 0);
}

#[test]
fn nothing_reaches_a_host_whose_mounts_are_shared() {
    // systemd makes every mount shared; here the same is done in a mount namespace of the test's own.
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "shared"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "mounts::mounts_inside_do_not_reach_the_host"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_cgroup_tree_shows_only_its_own_part_and_is_read_only() {
    let mut image = Image::new();
    let script = "mount | grep -c ' on /sys/fs/cgroup.*cgroup.*(ro'; cd /sys/fs/cgroup; mkdir x; \
                  if test -e cgroup.procs; then mkdir ./x; else mkdir memory/x; fi";
    let output = image.args(&["/bin/sh", "-c", script]).run();
    assert!(!output.stdout.starts_with("0\n"), "{output:?}");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{output:?}");
    let inside =
        image.sh("cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | sort -u");
    // Every number that is shown is one of its own pid namespace.
    assert!(inside.lines().all(|pid| pid.len() <= 2), "{inside}");
}

#[test]
fn old_and_unknown_file_systems_fail_by_name() {
    let mut image = Image::new();
    image.mount("nonsensefs", Path::new("x"), "/mnt", &[]);
    let message = chain(&image.args(&["/bin/true"]).refused());
    assert!(message.starts_with("cannot mount `nonsensefs` on `/mnt`"), "{message}");
}

#[test]
fn a_lying_overlay_is_explained() {
    let image = Image::new();
    let error = runtime::Rootfs::mount(&[oci::mount::Mount {
        kind: "overlay".into(),
        source: "overlay".into(),
        target: String::new(),
        options: vec![format!("lowerdir={}/absent", image.path("/").display())],
    }])
    .expect_err("there is no such layer");
    assert!(chain(&error).contains("overlay"), "{}", chain(&error));
}

#[test]
fn many_layers_of_long_names_can_be_mounted() {
    const LAYERS: usize = 125;
    let mut image = Image::new();
    let layers: Vec<_> = (0..LAYERS)
        .map(|number| {
            let layer = image.host_directory(&format!("{}{number}", "l".repeat(120)));
            fs::write(layer.join(format!("file{number}")), "").unwrap();
            layer.display().to_string()
        })
        .collect();
    image.root_options = vec![format!("lowerdir={}", layers.join(":")), "nosuid".into()];
    let script = "ls / | grep -c ^file; touch /new; grep ' / ' /proc/mounts | grep -c nosuid";
    assert_eq!(image.sh(script), format!("{LAYERS}\n1\n"));
    assert!(image.host_directory("upper").join("new").exists());
}
