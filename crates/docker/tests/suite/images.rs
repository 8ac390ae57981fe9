//! Images as Docker has them: history, disk usage, filters, prunes.

use serde_json::{Value, json};

use crate::client::escape;
use crate::door::{Door, busybox_tar, with_busybox, with_door};

/// The value of `filters`.
fn filters(filters: &Value) -> String {
    format!("filters={}", escape(&filters.to_string()))
}

/// The names of images, each the first it has.
fn names(images: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        images.as_array().unwrap().iter().map(|image| image["RepoTags"][0].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn import(door: &Door, name: &str, more: &str) {
    let tar = std::fs::read(busybox_tar()).unwrap();
    let made = door.upload(&format!("/images/create?fromSrc=-&repo={name}{more}"), &tar);
    assert_eq!(made.status, 200, "{made:?}");
}

#[test]
fn history_tells_the_size_of_each_layer() {
    with_busybox(|door| {
        let image = door.get("/images/busybox/json").json();
        let steps = door.get("/images/busybox/history").json();
        let [step] = steps.as_array().unwrap().as_slice() else { panic!("{steps}") };
        assert_eq!(step["Id"], image["Id"]);
        assert_eq!(step["Tags"], json!(["busybox:latest"]));
        assert_eq!(step["Comment"], "imported from a tar archive");
        let size = step["Size"].as_i64().unwrap();
        assert_eq!(step["Size"], image["Size"]);
        let program = std::fs::metadata("/bin/busybox").unwrap().len();
        assert!(u64::try_from(size).unwrap() >= program, "{size} holds {program}");
        assert!(step["Created"].as_i64().unwrap() > 0);
        let id = image["Id"].as_str().unwrap();
        assert_eq!(door.get(&format!("/images/{}/history", &id[7..19])).json()[0]["Id"], id);
        let missing = door.get("/images/nothing/history");
        assert_eq!((missing.status, missing.message().as_str()), (404, "No such image: nothing:latest"));
    });
}

#[test]
fn disk_usage_counts_each_layer_once() {
    with_busybox(|door| {
        import(door, "other", "&changes=LABEL+a=b");
        let id = door.create(
            "writer",
            "head -c 5000 /dev/zero > /file; mkdir /d",
            json!({
                "HostConfig": {"NetworkMode": "none", "Binds": ["data:/data"]},
            }),
        );
        door.start(&id);
        assert_eq!(door.wait(&id), 0);
        let usage = door.get("/system/df").json();
        let images = usage["Images"].as_array().unwrap();
        assert_eq!(images.len(), 2);
        for image in images {
            assert_eq!((&image["Size"], &image["SharedSize"]), (&usage["LayersSize"], &usage["LayersSize"]));
        }
        let counts: i64 = images.iter().map(|image| image["Containers"].as_i64().unwrap()).sum();
        assert_eq!(counts, 1);
        let container = &usage["Containers"][0];
        assert_eq!(container["SizeRw"], 5000, "directories are nobody's bytes");
        assert_eq!(container["SizeRootFs"].as_i64().unwrap(), usage["LayersSize"].as_i64().unwrap() + 5000);
        assert_eq!(usage["Volumes"][0]["UsageData"], json!({"RefCount": 1, "Size": 0}));
        assert_eq!(usage["BuildCache"], json!([]));
        assert!(usage.get("BuilderSize").is_none());
        assert_eq!(door.get("/v1.41/system/df").json()["BuilderSize"], 0);
        let some = door.get("/system/df?type=image&type=volume").json();
        assert!(some["Images"].is_array() && some["Volumes"].is_array());
        assert!(some["Containers"].is_null() && some["BuildCache"].is_null());
        let odd = door.get("/system/df?type=secret");
        assert_eq!((odd.status, odd.message().as_str()), (400, "unknown object type: secret"));
        door.delete("/containers/writer?force=1&v=1");
        assert_eq!(door.get("/system/df").json()["Volumes"][0]["UsageData"]["RefCount"], 0);
    });
}

#[test]
fn shared_sizes_are_told_when_they_are_asked_for() {
    with_busybox(|door| {
        let list = |query: &str| door.get(&format!("/images/json{query}")).json();
        assert_eq!(list("")[0]["SharedSize"], -1);
        assert_eq!(list("?shared-size=1")[0]["SharedSize"], 0);
        import(door, "other", "&changes=LABEL+a=b");
        let images = list("?shared-size=1");
        assert_eq!(images[0]["SharedSize"], images[0]["Size"]);
    });
}

#[test]
fn images_are_filtered_by_labels_and_age() {
    with_door(|door| {
        import(door, "one", "&changes=LABEL+a=1");
        import(door, "two", "&changes=LABEL+a=2");
        import(door, "three", "&changes=LABEL+b=1");
        for (wanted, expected) in [
            (json!({"label": ["a"]}), vec!["one:latest", "two:latest"]),
            (json!({"label!": ["a"]}), vec!["three:latest"]),
            (json!({"label!": ["a=1"]}), vec!["three:latest", "two:latest"]),
            (json!({"since": ["one"]}), vec!["three:latest", "two:latest"]),
            (json!({"before": ["three"]}), vec!["one:latest", "two:latest"]),
            (json!({"since": ["one"], "before": ["three"]}), vec!["two:latest"]),
            (json!({"until": ["24h"]}), vec![]),
            (json!({"until": ["2999-01-01"]}), vec!["one:latest", "three:latest", "two:latest"]),
            (json!({"reference": ["t*"]}), vec!["three:latest", "two:latest"]),
        ] {
            let found = door.get(&format!("/images/json?{}", filters(&wanted))).json();
            assert_eq!(names(&found), expected, "{wanted}");
        }
        for (wrong, message) in [
            (json!({"until": ["soon"]}), "failed to parse value as time or duration: \"soon\""),
            (json!({"until": ["1h", "2h"]}), "more than one until filter specified"),
        ] {
            let refused = door.get(&format!("/images/json?{}", filters(&wrong)));
            assert_eq!((refused.status, refused.message().as_str()), (400, message));
        }
    });
}

#[test]
fn prunes_leave_what_is_labelled_or_too_young() {
    with_busybox(|door| {
        let prune = |kind: &str, wanted: &Value| {
            door.post(&format!("/{kind}/prune?{}", filters(wanted)), None).json()
        };
        import(door, "kept", "&changes=LABEL+keep=yes");
        door.create("kept", "true", json!({"Labels": {"keep": "yes"}}));
        door.create("old", "true", json!({}));
        for name in ["kept", "old"] {
            let labels = if name == "kept" { json!({"keep": "yes"}) } else { json!({}) };
            door.post("/volumes/create", Some(&json!({"Name": name, "Labels": labels})));
            door.post("/networks/create", Some(&json!({"Name": name, "Labels": labels})));
        }
        let young = json!({"until": ["1h"]});
        assert!(prune("containers", &young)["ContainersDeleted"].is_null());
        assert!(prune("networks", &young)["NetworksDeleted"].is_null());
        let young_images = json!({"until": ["1h"], "dangling": ["false"]});
        assert!(prune("images", &young_images)["ImagesDeleted"].is_null());
        assert_eq!(prune("volumes", &young)["message"], "invalid filter 'until'");

        let layers = door.get("/system/df").json()["LayersSize"].clone();
        let unlabelled = json!({"label!": ["keep=yes"]});
        assert_eq!(prune("containers", &unlabelled)["ContainersDeleted"].as_array().unwrap().len(), 1);
        assert_eq!(prune("networks", &unlabelled)["NetworksDeleted"], json!(["old"]));
        let volumes = json!({"label!": ["keep=yes"], "all": ["true"]});
        assert_eq!(prune("volumes", &volumes)["VolumesDeleted"], json!(["old"]));
        door.delete("/containers/kept?force=1");
        let images = json!({"label!": ["keep=yes"], "dangling": ["false"]});
        let pruned = prune("images", &images);
        assert_eq!(pruned["ImagesDeleted"][0]["Untagged"], "busybox:latest");
        assert_eq!(pruned["SpaceReclaimed"], 0, "the other image has the same layer");
        let pruned = prune("images", &json!({"dangling": ["false"]}));
        assert_eq!(pruned["SpaceReclaimed"], layers);
        assert_eq!(door.get("/system/df").json()["LayersSize"], 0);
    });
}
