//! What holds containers back, and which devices they get.

use serde_json::{Value, json};

use crate::door::with_busybox;

#[test]
fn hidden_and_read_only_paths_are_those_that_were_asked_for() {
    with_busybox(|door| {
        let script = "cat /proc/uptime | wc -c; touch /etc/x 2>/dev/null && echo written || echo refused; \
            ls /proc/acpi 2>/dev/null | wc -l";
        let own =
            door.output("own", script, json!({"MaskedPaths": ["/proc/uptime"], "ReadonlyPaths": ["/etc"]}));
        assert!(own.starts_with("0\nrefused\n"), "{own}");
        let default = door.output("default", script, json!({}));
        assert!(default.contains("\nwritten\n") && !default.starts_with("0\n"), "{default}");
        let shown = |host: Value| {
            let id = door.create("shown", "true", json!({"HostConfig": host}));
            let shown = door.get(&format!("/containers/{id}/json")).json()["HostConfig"].clone();
            assert_eq!(door.delete(&format!("/containers/{id}")).status, 204);
            shown
        };
        let asked = json!({"NetworkMode": "none", "MaskedPaths": ["/proc/uptime"], "ReadonlyPaths": [], "UsernsMode": "host",
            "SecurityOpt": ["label=disable", "no-new-privileges:true", "apparmor=unconfined"]});
        let found = shown(asked.clone());
        for (field, value) in asked.as_object().unwrap() {
            assert_eq!(&found[field], value, "{field}");
        }
    });
}

#[test]
fn what_no_kernel_or_runtime_here_can_do_is_refused_in_dockers_words() {
    with_busybox(|door| {
        for (host, want) in [
            (json!({"CapAdd": ["FOO"]}), "invalid CapAdd: unknown capability: \"CAP_FOO\""),
            (json!({"CapDrop": ["CAP_ALL"]}), "invalid CapDrop: unknown capability: \"CAP_ALL\""),
            (json!({"Runtime": "kata"}), "unknown or invalid runtime name: kata"),
            (json!({"Isolation": "hyperv"}), "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
            (
                json!({"StorageOpt": {"size": "1g"}}),
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            ),
            (
                json!({"Devices": [{"PathOnHost": "/dev/nope"}]}),
                "error gathering device information while adding custom device \"/dev/nope\": no such file or directory",
            ),
            (
                json!({"Devices": [{"PathOnHost": "/etc/passwd"}]}),
                "error gathering device information while adding custom device \"/etc/passwd\": not a device node",
            ),
            (json!({"Tmpfs": {"/x": "foo"}}), "invalid tmpfs option [\"foo\"]"),
        ] {
            assert_eq!(door.refused(host), want);
        }
        let gpus = json!({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]});
        assert!(
            door.refused(gpus).starts_with("could not select device driver \"\" with capabilities: [[gpu]]")
        );
        if !std::path::Path::new("/sys/module/apparmor").exists() {
            assert!(door.refused(json!({"SecurityOpt": ["apparmor=mine"]})).contains("\"mine\""));
        }
    });
}

#[test]
fn a_vendors_device_brings_its_node_environment_mounts_and_groups() {
    with_busybox(|door| {
        let library = tempfile::tempdir().unwrap();
        std::fs::write(library.path().join("lib"), "text").unwrap();
        let specification = json!({"cdiVersion": "0.6.0", "kind": "vendor.com/net",
            "containerEdits": {"env": ["ALL=1"]},
            "devices": [{"name": "a", "containerEdits": {"env": ["A=1"], "additionalGids": [4242],
                "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/zero", "permissions": "r"}],
                "mounts": [{"hostPath": library.path(), "containerPath": "/usr/lib/vendor", "options": ["ro", "nosuid"]}]}}]});
        std::fs::create_dir_all(door.cdi_directory()).unwrap();
        std::fs::write(door.cdi_directory().join("vendor.json"), specification.to_string()).unwrap();
        let request = |id: &str| json!({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [id]}]});
        let script = "echo $ALL $A; id -G; head -c 3 /dev/x | wc -c; cat /usr/lib/vendor/lib; \
            touch /usr/lib/vendor/x 2>&1";
        let text = door.output("vendor", script, request("vendor.com/net=a"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "1 1", "{text}");
        assert!(lines[1].split(' ').any(|group| group == "4242"), "{text}");
        assert_eq!(lines[2], "3", "{text}");
        assert!(lines[3].starts_with("text") && text.contains("Read-only"), "{text}");
        let id = door.create("shown", "true", json!({"HostConfig": request("vendor.com/net=a")}));
        let shown = &door.get(&format!("/containers/{id}/json")).json()["HostConfig"]["DeviceRequests"][0];
        assert_eq!((&shown["Driver"], &shown["DeviceIDs"]), (&json!("cdi"), &json!(["vendor.com/net=a"])));
        assert_eq!(
            door.refused(request("vendor.com/net=b")),
            "CDI device injection failed: unresolvable CDI devices vendor.com/net=b"
        );
        std::fs::remove_dir_all(door.cdi_directory()).unwrap();
        let started = door.post(&format!("/containers/{id}/start"), None);
        assert_eq!(started.status, 400, "it is looked up anew: {started:?}");
        assert_eq!(door.get("/info").json()["CDISpecDirs"], json!([door.cdi_directory()]));
    });
}
