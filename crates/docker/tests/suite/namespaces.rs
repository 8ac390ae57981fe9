//! Namespaces: what is whose, and the extension that lists and changes them.

use serde_json::{Value, json};

use crate::client::{self, Answer};
use crate::door::{Door, with_busybox};

/// A request in a namespace.
fn within(door: &Door, namespace: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let plain = String::from_utf8(client::request(method, path, body)).unwrap();
    let head = format!("Host: d\r\nX-Corten-Namespace: {namespace}");
    door.send(plain.replacen("Host: d", &head, 1).as_bytes())
}

fn names(answer: &Answer, key: &str) -> Vec<String> {
    let text = |entry: &Value| entry[key].as_str().unwrap().to_owned();
    answer.json().as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_namespace_has_images_containers_and_names_of_its_own() {
    with_busybox(|door| {
        let body = json!({"Image": "busybox", "Cmd": ["true"]});
        let own = door.post("/containers/create?name=web", Some(&body)).json()["Id"].clone();
        assert!(within(door, "other", "GET", "/images/json", None).json().as_array().unwrap().is_empty());
        // Its first use makes it, and takes the image's name along.
        let made = within(door, "other", "POST", "/containers/create?name=web", Some(&body));
        assert_eq!(made.status, 201, "{made:?}");
        let other = made.json()["Id"].clone();
        assert_ne!(own, other);
        assert_eq!(within(door, "other", "GET", "/images/json", None).json().as_array().unwrap().len(), 1);
        for (namespace, found, hidden) in [("default", &own, &other), ("other", &other, &own)] {
            let listed = within(door, namespace, "GET", "/containers/json?all=1", None);
            assert_eq!(names(&listed, "Id"), [found.as_str().unwrap()], "{namespace}");
            let path = |id: &Value| format!("/containers/{}/json", id.as_str().unwrap());
            assert_eq!(within(door, namespace, "GET", &path(hidden), None).status, 404, "{namespace}");
            assert_eq!(within(door, namespace, "GET", &path(found), None).status, 200, "{namespace}");
            let by_name = within(door, namespace, "GET", "/containers/web/json", None);
            assert_eq!(&by_name.json()["Id"], found, "{namespace}");
        }
        // Removed in one, an image is still the other's.
        assert_eq!(within(door, "other", "DELETE", "/containers/web", None).status, 204);
        assert_eq!(within(door, "other", "DELETE", "/images/busybox", None).status, 200);
        let path = format!("/containers/{}/start", own.as_str().unwrap());
        assert_eq!(within(door, "default", "POST", &path, None).status, 204);
        let gone = door.post("/containers/web/wait", None);
        assert_eq!(gone.json()["StatusCode"], 0, "{gone:?}");
        assert_eq!(door.send(&client::request("DELETE", "/containers/web", None)).status, 204);
    });
}

#[test]
fn what_only_kubernetes_has_is_told_and_not_taken() {
    with_busybox(|door| {
        let body = json!({"Image": "busybox", "Cmd": ["true"]});
        let made = within(door, "k8s.io", "POST", "/containers/create?name=pod", Some(&body));
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(door.send(&client::request("DELETE", "/images/busybox", None)).status, 200);
        let refused = door.post("/containers/create", Some(&body));
        assert_eq!(refused.status, 404);
        assert!(refused.message().contains("use `-n k8s.io`"), "{}", refused.message());
        assert_eq!(within(door, "k8s.io", "DELETE", "/containers/pod", None).status, 204);
    });
}

#[test]
fn namespaces_are_made_labelled_listed_and_removed_when_empty() {
    with_busybox(|door| {
        let send = |method: &str, path: &str, body: Option<Value>| {
            door.send(&client::request(method, &format!("/corten/namespaces{path}"), body.as_ref()))
        };
        let create = json!({"Name": "team", "Labels": {"a": "1", "b": "2"}});
        assert_eq!(send("POST", "", Some(create.clone())).status, 201);
        assert_eq!(send("POST", "", Some(create)).status, 409);
        assert_eq!(send("POST", "", Some(json!({"Name": "a/b"}))).status, 400);
        assert_eq!(names(&send("GET", "", None), "Name"), ["default", "team"]);
        assert_eq!(send("POST", "/team/update", Some(json!({"Labels": {"a": "", "c": "3"}}))).status, 204);
        assert_eq!(send("GET", "/team", None).json()["Labels"], json!({"b": "2", "c": "3"}));
        let default = send("GET", "/default", None).json();
        assert_eq!((&default["Images"], &default["Containers"]), (&json!(1), &json!(0)));
        let refused = send("DELETE", "/default", None);
        assert_eq!(refused.status, 409);
        assert!(refused.message().contains("must be empty, but it still has images"), "{refused:?}");
        assert_eq!(send("DELETE", "/team", None).status, 204);
        assert_eq!(send("DELETE", "/team", None).status, 404);
        let wrong = within(door, "no/name", "GET", "/images/json", None);
        assert_eq!(wrong.status, 400, "{wrong:?}");
    });
}
