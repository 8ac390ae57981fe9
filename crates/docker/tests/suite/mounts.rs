//! Mounts and volumes as clients ask for them, in real containers.

use std::path::Path;

use serde_json::{Value, json};

use crate::door::with_busybox;

/// Both streams of a log.
fn text(log: &[u8]) -> String {
    crate::client::unframe(log).into_iter().map(|(_, text)| text).collect()
}

fn is_mounted(path: &str) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

#[test]
fn a_volume_with_options_is_mounted_as_long_as_it_is_used() {
    with_busybox(|door| {
        let options = json!({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000,noexec"});
        let made = door.post(
            "/volumes/create",
            Some(&json!({"Name": "ram", "DriverOpts": options, "Labels": {"a": "b"}})),
        );
        assert_eq!((made.status, &made.json()["Options"]), (201, &options));
        let path = made.json()["Mountpoint"].as_str().unwrap().to_owned();
        let text = json!({"HostConfig": {"NetworkMode": "none", "Binds": ["ram:/x"]}});
        let (one, other) =
            (door.create("one", "sleep 1000", text.clone()), door.create("two", "sleep 1000", text));
        assert!(!is_mounted(&path));
        door.start(&one);
        door.start(&other);
        assert!(is_mounted(&path));
        std::fs::write(Path::new(&path).join("file"), "kept").unwrap();
        assert_eq!(
            door.output(
                "three",
                "cat /x/file; stat -c %u /x; df -m /x | tail -1",
                json!({"Binds": ["ram:/x:ro"]})
            )
            .split_whitespace()
            .take(4)
            .collect::<Vec<_>>(),
            ["kept1000", "tmpfs", "1", "0"]
        );
        assert_eq!(door.delete(&format!("/containers/{one}?force=1")).status, 204);
        assert!(is_mounted(&path), "the other still uses it");
        assert_eq!(door.delete(&format!("/containers/{other}?force=1")).status, 204);
        door.until("it is unmounted", || !is_mounted(&path));
        assert_eq!(door.delete("/volumes/ram").status, 204);
        assert!(!Path::new(&path).exists());
    });
}

#[test]
fn a_bind_volume_leaves_its_directory_alone_when_it_is_removed() {
    with_busybox(|door| {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("file"), "mine").unwrap();
        let options = json!({"type": "none", "device": outside.path(), "o": "bind,ro"});
        let mount = json!([{"Type": "volume", "Source": "out", "Target": "/x",
            "VolumeOptions": {"DriverConfig": {"Options": options}}}]);
        let text = door.output("reads", "cat /x/file; touch /x/new 2>&1", json!({"Mounts": mount}));
        assert!(text.starts_with("mine") && text.contains("Read-only"), "{text}");
        assert_eq!(door.get("/volumes/out").json()["Options"], options);
        let id = door.create(
            "holds",
            "sleep 1000",
            json!({"HostConfig": {"NetworkMode": "none", "Binds": ["out:/y"]}}),
        );
        door.start(&id);
        assert_eq!(door.delete("/volumes/out").status, 409);
        assert_eq!(door.delete(&format!("/containers/{id}?force=1")).status, 204);
        assert_eq!(door.delete("/volumes/out").status, 204);
        assert_eq!(std::fs::read_to_string(outside.path().join("file")).unwrap(), "mine");
    });
}

#[test]
fn what_cannot_be_mounted_fails_the_start_in_dockers_words() {
    with_busybox(|door| {
        let options = json!({"type": "none", "device": "/not/there", "o": "bind"});
        door.post("/volumes/create", Some(&json!({"Name": "gone", "DriverOpts": options})));
        let id = door.create(
            "fails",
            "true",
            json!({"HostConfig": {"NetworkMode": "none", "Binds": ["gone:/x"]}}),
        );
        let started = door.post(&format!("/containers/{id}/start"), None);
        let text = started.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(started.status, 500, "{text}");
        assert!(text.starts_with("error while mounting volume '/"), "{text}");
        assert!(text.contains("failed to mount local volume: mount /not/there:/"), "{text}");
        assert!(text.contains("_data, flags: 0x1000: No such file"), "{text}");
        assert_eq!(door.delete(&format!("/containers/{id}")).status, 204);
        for (options, want) in [
            (json!({"foo": "1"}), "create va: invalid option: \"foo\""),
            (json!({"o": "x"}), "create va: missing required option: \"device\""),
        ] {
            let made = door.post("/volumes/create", Some(&json!({"Name": "va", "DriverOpts": options})));
            assert_eq!((made.status, made.json()["message"].as_str().unwrap()), (400, want));
        }
        let made = door.post("/volumes/create", Some(&json!({"Name": "va", "Driver": "nope"})));
        let want = "create va: error looking up volume plugin nope: plugin \"nope\" not found";
        assert_eq!((made.status, made.json()["message"].as_str().unwrap()), (404, want));
        let changed = door.send(&crate::client::request("PUT", "/volumes/gone", Some(&json!({"Spec": {}}))));
        assert_eq!(changed.status, 503);
    });
}

#[test]
fn a_subpath_is_found_inside_of_the_volume_whatever_links_are_there() {
    with_busybox(|door| {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "outside").unwrap();
        let made = door.post("/volumes/create", Some(&json!({"Name": "tree"}))).json();
        let root = Path::new(made["Mountpoint"].as_str().unwrap()).to_owned();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "inside").unwrap();
        std::os::unix::fs::symlink("/a", root.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink("../../../../../../../..", root.join("up")).unwrap();
        let mount = |subpath: &str, target: &str| {
            json!({"Mounts": [{"Type": "volume", "Source": "tree", "Target": target,
                "VolumeOptions": {"Subpath": subpath}}]})
        };
        assert_eq!(door.output("part", "ls /x; cat /x/file", mount("a/b", "/x")), "file\ninside");
        assert_eq!(door.output("linked", "cat /x/file", mount("link/b", "/x")), "inside");
        assert_eq!(door.output("one-file", "cat /etc/x", mount("a/b/file", "/etc/x")), "inside");
        assert_eq!(door.output("top", "ls /x", mount("up", "/x")), "a\nlink\nout\nup\n");
        for subpath in ["out", "missing", "out/secret"] {
            let id = door.create("no", "true", json!({"HostConfig": mount(subpath, "/x")}));
            let started = door.post(&format!("/containers/{id}/start"), None);
            assert_eq!(started.status, 400, "{subpath}: {started:?}");
            assert_eq!(door.delete(&format!("/containers/{id}?force=1")).status, 204);
        }
        for (subpath, want) in [("../x", "relative path"), ("/etc", "relative path")] {
            assert!(door.refused(mount(subpath, "/x")).contains(want));
        }
    });
}

#[test]
fn an_image_is_mounted_read_only_and_kept_while_a_container_has_it() {
    with_busybox(|door| {
        door.post("/images/busybox/tag?repo=tools&tag=1", None);
        let mounts = |subpath: &str| {
            json!({"Mounts": [
                {"Type": "image", "Source": "tools:1", "Target": "/tools"},
                {"Type": "image", "Source": "tools:1", "Target": "/part", "ImageOptions": {"Subpath": subpath}}]})
        };
        let script = "test -x /tools/bin/busybox && /part/busybox echo runs; touch /tools/x 2>&1";
        let text = door.output("mounts", script, mounts("bin"));
        assert!(text.starts_with("runs\n") && text.contains("Read-only"), "{text}");
        let id = door.create("keeps", "ls /tools/bin/busybox", json!({"HostConfig": mounts("bin")}));
        let shown = door.get(&format!("/containers/{id}/json")).json();
        assert_eq!(shown["HostConfig"]["Mounts"], mounts("bin")["Mounts"]);
        let point = &shown["Mounts"][0];
        assert_eq!(
            (&point["Type"], &point["Source"], &point["RW"]),
            (&json!("image"), &json!("tools:1"), &json!(false))
        );
        assert_eq!(door.delete("/images/tools:1").status, 200);
        door.start(&id);
        assert_eq!(door.wait(&id), 0);
        assert_eq!(door.delete(&format!("/containers/{id}")).status, 204);
        assert!(door.refused(mounts("bin")).contains("No such image: tools:1"));
    });
}

#[test]
fn read_only_reaches_what_is_mounted_below_unless_it_is_told_not_to() {
    with_busybox(|door| {
        let outside = tempfile::tempdir().unwrap();
        let below = outside.path().join("below");
        std::fs::create_dir(&below).unwrap();
        rustix::mount::mount("tmpfs", &below, "tmpfs", rustix::mount::MountFlags::empty(), c"size=64k")
            .unwrap();
        let source = outside.path().to_str().unwrap();
        let script = "touch /x/below/a 2>/dev/null && echo written || echo refused";
        let bind = |options: Value| json!({"Mounts": [{"Type": "bind", "Source": source, "Target": "/x", "ReadOnly": true, "BindOptions": options}]});
        let seen: Vec<String> = [
            json!({"Binds": [format!("{source}:/x:ro")]}),
            bind(json!({})),
            bind(json!({"ReadOnlyForceRecursive": true})),
            bind(json!({"ReadOnlyNonRecursive": true})),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, host)| door.output(&format!("ro{number}"), script, host))
        .collect();
        let without = door.output(
            "flat",
            "ls /x/below | wc -l",
            bind(json!({"NonRecursive": true, "CreateMountpoint": true})),
        );
        rustix::mount::unmount(&below, rustix::mount::UnmountFlags::empty()).unwrap();
        assert_eq!(seen, ["refused\n", "refused\n", "refused\n", "written\n"]);
        assert_eq!(without, "0\n", "what is mounted below stays behind");
    });
}

#[test]
fn inspect_shows_mounts_as_docker_does() {
    with_busybox(|door| {
        let outside = tempfile::tempdir().unwrap();
        let source = outside.path().to_str().unwrap();
        let body = json!({"Volumes": {"/anon": {}}, "HostConfig": {"NetworkMode": "none",
            "Binds": [format!("{source}:/b:ro"), "vc:/d", "vc:/e:nocopy,ro"],
            "Mounts": [{"Type": "bind", "Source": source, "Target": "/f"}, {"Type": "volume", "Target": "/i"},
                       {"Type": "tmpfs", "Target": "/j", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 448}}],
            "Tmpfs": {"/k": "size=2m"}}});
        let id = door.create("shown", "grep -E ' /[jk] ' /proc/mounts", body.clone());
        let shown = door.get(&format!("/containers/{id}/json")).json();
        for field in ["Binds", "Mounts", "Tmpfs"] {
            assert_eq!(shown["HostConfig"][field], body["HostConfig"][field], "{field}");
        }
        assert_eq!(shown["Config"]["Volumes"], json!({"/anon": {}}));
        let mut points: Vec<String> = shown["Mounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| {
                let text = |key: &str| point[key].as_str().unwrap_or_default().to_owned();
                let fields = ["Destination", "Type", "Driver", "Mode", "Propagation"].map(text);
                format!("{} {}", fields.join(" "), point["RW"])
            })
            .collect();
        points.sort();
        assert_eq!(
            points,
            [
                "/anon volume local   true",
                "/b bind  ro rprivate false",
                "/d volume local z  true",
                "/e volume local nocopy,ro  false",
                "/f bind   rprivate true",
                "/i volume local z  true",
                "/j tmpfs    true",
            ]
        );
        door.start(&id);
        assert_eq!(door.wait(&id), 0);
        let logs = text(&door.get(&format!("/containers/{id}/logs?stdout=1")).body);
        assert!(
            logs.contains("tmpfs /j tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=700"),
            "{logs}"
        );
        assert_eq!(door.delete(&format!("/containers/{id}?v=1")).status, 204);
        assert_eq!(door.get("/volumes").json()["Volumes"].as_array().unwrap().len(), 1, "the named one");
    });
}
