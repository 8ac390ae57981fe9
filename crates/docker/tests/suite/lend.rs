//! `--volumes-from`: what a container gets of another one.

use serde_json::json;

use crate::door::with_busybox;

#[test]
fn a_container_gets_the_binds_and_volumes_of_another() {
    with_busybox(|door| {
        let host =
            json!({"Binds": ["named:/named", "/tmp:/host:ro"], "Tmpfs": {"/own": ""}, "NetworkMode": "none"});
        let script = "echo one > /named/file; echo two > /anonymous/file";
        let lender =
            door.create("lender", script, json!({"HostConfig": host, "Volumes": {"/anonymous": {}}}));
        door.start(&lender);
        assert_eq!(door.wait(&lender), 0);
        let host = json!({"VolumesFrom": ["lender:ro"], "Binds": ["mine:/named"], "NetworkMode": "none"});
        let script =
            "test ! -e /named/file -a -e /host -a ! -e /own && cat /anonymous/file && ! touch /anonymous/x";
        let borrower = door.create("borrower", script, json!({"HostConfig": host}));
        door.start(&borrower);
        assert_eq!(door.wait(&borrower), 0);
        let shown = door.get(&format!("/containers/{borrower}/json")).json();
        assert_eq!(shown["HostConfig"]["VolumesFrom"], json!(["lender:ro"]));
        let binds = shown["HostConfig"]["Binds"].as_array().unwrap().len();
        assert_eq!(binds, 1, "what is lent is no bind of its own");
        assert_eq!(shown["Mounts"].as_array().unwrap().len(), 3);
        assert_eq!(door.delete("/containers/lender?v=1").status, 204);
        door.start(&borrower);
        assert_eq!(door.wait(&borrower), 0, "it still has the volume");
        for (from, text) in
            [("lender", "No such container"), ("borrower:x", "invalid mode: x"), ("", "empty string")]
        {
            let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"VolumesFrom": [from]}});
            let answer = door.post("/containers/create", Some(&body));
            assert!(answer.status == 400 && answer.message().contains(text), "{answer:?}");
        }
    });
}
