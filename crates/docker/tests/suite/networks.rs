//! Networks as clients see them: made, listed, connected, and seen from their containers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::door::{Door, with_busybox, with_door};

/// Runs until somebody stops it.
const RUNS: &str = "trap 'exit 0' TERM; while :; do sleep 0.02; done";

/// Makes a network; `more` is merged into the body.
fn make(door: &Door, name: &str, more: &Value) -> String {
    let mut body = json!({"Name": name});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let made = door.post("/networks/create", Some(&body));
    assert_eq!(made.status, 201, "{made:?}");
    made.json()["Id"].as_str().unwrap().to_owned()
}

/// What a web server answers for its page.
fn fetch(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|network| network["Name"].as_str().unwrap()).collect()
}

#[test]
fn networks_are_made_listed_and_removed() {
    with_door(|door| {
        assert_eq!(names(&door.get("/networks").json()), ["bridge", "host", "none"]);
        let labelled = json!({"Labels": {"tier": "web"}, "Internal": true, "IPAM": {"Config": [{"Subnet": "10.77.1.0/24"}]}});
        let id = make(door, "one", &labelled);
        make(door, "two", &json!({"Driver": "bridge", "CheckDuplicate": true}));
        let again = door.post("/networks/create", Some(&json!({"Name": "one"})));
        assert_eq!((again.status, again.message().as_str()), (409, "network with name one already exists"));
        let shown = door.get("/networks/one").json();
        assert_eq!(
            (&shown["Id"], &shown["Internal"], &shown["Labels"]),
            (&json!(id), &json!(true), &labelled["Labels"])
        );
        assert_eq!(
            shown["IPAM"]["Config"],
            json!([{"Subnet": "10.77.1.0/24"}]),
            "nobody asked for a gateway"
        );
        assert_eq!(door.get(&format!("/networks/{id}")).json(), shown);
        assert_eq!(door.get(&format!("/networks/{}", &id[..12])).json(), shown);
        for (filters, want) in [
            (r#"{"type":["custom"]}"#, vec!["one", "two"]),
            (r#"{"type":["builtin","custom"]}"#, vec!["bridge", "host", "none", "one", "two"]),
            (r#"{"label":["tier=web"]}"#, vec!["one"]),
            (r#"{"label":["tier=db"]}"#, vec![]),
            (r#"{"name":["tw","hos"]}"#, vec!["host", "two"]),
            (r#"{"driver":["null"]}"#, vec!["none"]),
            (r#"{"dangling":["true"]}"#, vec!["one", "two"]),
            (r#"{"scope":["swarm"]}"#, vec![]),
        ] {
            let found = door.get(&format!("/networks?filters={}", crate::client::escape(filters))).json();
            assert_eq!(names(&found), want, "{filters}");
        }
        for (method, path, status, message) in [
            ("DELETE", "/networks/bridge", 403, "bridge is a pre-defined network and cannot be removed"),
            ("DELETE", "/networks/none", 403, "none is a pre-defined network and cannot be removed"),
            ("DELETE", "/networks/nothing", 404, "network nothing not found"),
            ("GET", "/networks/one?scope=swarm", 404, "network one not found"),
            ("GET", "/networks?filters={%22type%22:[%22odd%22]}", 400, "invalid filter: 'type'='odd'"),
        ] {
            let answer = door.send(&crate::client::request(method, path, None));
            assert_eq!((answer.status, answer.message().as_str()), (status, message), "{method} {path}");
        }
        assert_eq!(door.delete("/networks/one").status, 204);
        assert_eq!(door.delete("/networks/one").status, 404);
        let report = |filters: &str| {
            let path = format!("/networks/prune?filters={}", crate::client::escape(filters));
            door.post(&path, None).json()["NetworksDeleted"].clone()
        };
        assert_eq!(report(r#"{"label":["tier=web"]}"#), json!(null));
        assert_eq!(report("{}"), json!(["two"]));
        assert_eq!(names(&door.get("/networks").json()), ["bridge", "host", "none"]);
    });
}

#[test]
fn a_container_is_seen_in_its_networks() {
    with_busybox(|door| {
        let id = make(door, "mine", &json!({"IPAM": {"Config": [{"Subnet": "10.77.2.0/24"}]}}));
        let place = json!({"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.77.2.9"}});
        let own = door.create(
            "web",
            RUNS,
            json!({"HostConfig": {"NetworkMode": "mine"}, "NetworkingConfig": {"EndpointsConfig": {"mine": place}}}),
        );
        let inspect = |version: &str| door.get(&format!("{version}/containers/web/json")).json();
        let before = inspect("");
        assert_eq!(before["HostConfig"]["NetworkMode"], "mine");
        assert_eq!(before["NetworkSettings"]["Networks"]["mine"]["IPAMConfig"], place["IPAMConfig"]);
        assert_eq!(before["NetworkSettings"]["Networks"]["mine"]["IPAddress"], "");
        door.start(&own);
        let running = inspect("")["NetworkSettings"]["Networks"]["mine"].clone();
        assert_eq!((&running["IPAddress"], &running["IPPrefixLen"]), (&json!("10.77.2.9"), &json!(24)));
        assert_eq!((&running["Gateway"], &running["NetworkID"]), (&json!("10.77.2.1"), &json!(id)));
        assert_eq!(running["Aliases"], json!(["db"]));
        assert_eq!(
            inspect("/v1.44")["NetworkSettings"]["Networks"]["mine"]["Aliases"],
            json!(["db", own[..12]])
        );
        assert!(running["DNSNames"].as_array().unwrap().contains(&json!("web")), "{running}");
        assert_eq!(inspect("")["NetworkSettings"]["IPAddress"], "", "that is for the default bridge");
        let member = door.get("/networks/mine").json()["Containers"][&own].clone();
        assert_eq!((&member["Name"], &member["IPv4Address"]), (&json!("web"), &json!("10.77.2.9/24")));
        assert_eq!(
            (&member["MacAddress"], &member["EndpointID"]),
            (&running["MacAddress"], &running["EndpointID"])
        );
        for (value, want) in [("mine", 1), (&id[..8], 1), ("bridge", 0)] {
            let filters = crate::client::escape(&format!(r#"{{"network":["{value}"]}}"#));
            let list = door.get(&format!("/containers/json?filters={filters}")).json();
            assert_eq!(list.as_array().unwrap().len(), want, "{value}");
        }
        let removal = door.delete("/networks/mine");
        assert_eq!(removal.status, 403);
        let said = removal.message();
        assert!(
            said.starts_with("error while removing network: network mine has active endpoints"),
            "{said}"
        );
        assert_eq!(door.post("/containers/web/stop?t=5", None).status, 204);
        assert_eq!(inspect("")["NetworkSettings"]["Networks"]["mine"]["IPAddress"], "");
        assert_eq!(door.get("/networks/mine").json()["Containers"], json!({}));
    });
}

#[test]
fn networks_are_connected_and_disconnected_while_a_container_runs() {
    with_busybox(|door| {
        make(door, "front", &json!({}));
        make(door, "back", &json!({"IPAM": {"Config": [{"Subnet": "10.77.3.0/24"}]}}));
        let own = door.create("web", RUNS, json!({"HostConfig": {"NetworkMode": "front"}}));
        door.start(&own);
        let networks = || {
            let shown = door.get("/containers/web/json").json()["NetworkSettings"]["Networks"].clone();
            shown
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, one)| (name.clone(), one["IPAddress"].clone()))
                .collect::<Vec<_>>()
        };
        let connect = |network: &str, more: &Value| {
            let body = json!({"Container": "web", "EndpointConfig": more});
            let answer = door.post(&format!("/networks/{network}/connect"), Some(&body));
            (answer.status, if answer.status == 200 { String::new() } else { answer.message() })
        };
        assert_eq!(
            connect("back", &json!({"IPAMConfig": {"IPv4Address": "10.77.3.7"}})),
            (200, String::new())
        );
        assert_eq!(networks()[0], ("back".into(), json!("10.77.3.7")));
        assert_eq!(networks().len(), 2);
        let twice = (403, "endpoint with name web already exists in network back".to_owned());
        assert_eq!(connect("back", &json!({})), twice);
        assert_eq!(connect("nothing", &json!({})), (404, "network nothing not found".into()));
        let disconnect = |network: &str, container: &str, force: bool| {
            let body = json!({"Container": container, "Force": force});
            door.post(&format!("/networks/{network}/disconnect"), Some(&body)).status
        };
        assert_eq!(disconnect("front", "web", false), 200);
        assert_eq!(networks(), [("back".into(), json!("10.77.3.7"))]);
        assert_eq!(disconnect("front", "nobody", false), 404);
        assert_eq!(disconnect("front", "nobody", true), 404);
        assert_eq!(door.post("/containers/web/restart?t=5", None).status, 204);
        assert_eq!(
            networks(),
            [("back".into(), json!("10.77.3.7"))],
            "it stays connected to what it is connected to"
        );
    });
}

#[test]
fn published_ports_are_shown_while_a_container_runs() {
    with_busybox(|door| {
        let own = door.create(
            "web",
            &format!("echo hello > /tmp/page; httpd -p 80 -h /tmp; {RUNS}"),
            json!({
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "HostConfig": {"NetworkMode": "", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}},
            }),
        );
        let settings = || door.get("/containers/web/json").json()["NetworkSettings"].clone();
        let ports = |filters: &str| {
            let path = format!("/containers/json?all=1&filters={}", crate::client::escape(filters));
            door.get(&path).json().as_array().unwrap().first().map(|one| one["Ports"].clone())
        };
        assert_eq!((settings()["Ports"].clone(), ports("{}")), (json!({}), Some(json!([]))));
        door.start(&own);
        let bound = json!([{"HostIp": "127.0.0.1", "HostPort": "18080"}]);
        assert_eq!(settings()["Ports"], json!({"80/tcp": bound, "53/udp": null}));
        door.until("the page is there", || {
            fetch("127.0.0.1:18080").is_some_and(|page| page.ends_with("hello\n"))
        });
        let listed = json!([
            {"PrivatePort": 53, "Type": "udp"},
            {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        ]);
        for (filters, want) in [
            ("{}", true),
            (r#"{"publish":["18080"]}"#, true),
            (r#"{"publish":["80"]}"#, false),
            (r#"{"expose":["50-60/udp"]}"#, true),
            (r#"{"expose":["81"]}"#, false),
        ] {
            assert_eq!(ports(filters), want.then(|| listed.clone()), "{filters}");
        }
        let shown = door.get("/containers/web/json").json();
        assert_eq!(shown["HostConfig"]["NetworkMode"], "bridge");
        assert_eq!(shown["HostConfig"]["PortBindings"], json!({"80/tcp": bound}));
        assert_eq!(shown["Config"]["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}}));
        let bridge = &shown["NetworkSettings"]["Networks"]["bridge"];
        assert!(bridge["IPAddress"].as_str().unwrap().contains('.'), "{bridge}");
        for field in ["IPAddress", "IPPrefixLen", "Gateway", "MacAddress", "EndpointID"] {
            assert_eq!(shown["NetworkSettings"][field], bridge[field], "{field}");
        }
        assert_eq!(door.post("/containers/web/stop?t=5", None).status, 204);
        assert_eq!((settings()["Ports"].clone(), ports("{}")), (json!({}), Some(json!([]))));
    });
}

#[test]
fn a_container_without_a_network_of_its_own_publishes_nothing() {
    with_busybox(|door| {
        let create = |mode: &str| {
            let body = json!({"Image": "busybox", "Cmd": ["true"],
                "HostConfig": {"NetworkMode": mode, "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}});
            let made = door.post("/containers/create", Some(&body));
            (made.status, made.json())
        };
        for mode in ["host", "none"] {
            let (status, made) = create(mode);
            let warning = format!("Published ports are discarded when using {mode} network mode");
            assert_eq!((status, &made["Warnings"]), (201, &json!([warning])));
        }
        let (status, refusal) = create("container:x");
        assert_eq!(status, 400);
        let words = "conflicting options: port publishing and the container type network mode";
        assert_eq!(refusal["message"], words);
        let (status, refusal) = create("nothing");
        assert_eq!(
            (status, &refusal["message"]),
            (400, &json!("network nothing not found")),
            "404 is for images"
        );
        let joins = json!({"Image": "busybox", "HostConfig": {"NetworkMode": "container:nobody"}});
        let refusal = door.post("/containers/create", Some(&joins));
        assert_eq!((refusal.status, refusal.message().as_str()), (400, "No such container: nobody"));
    });
}

#[test]
fn changes_of_networks_are_events() {
    with_busybox(|door| {
        let id = make(door, "mine", &json!({}));
        let own = door.create("web", RUNS, json!({"HostConfig": {}}));
        for verb in ["connect", "disconnect"] {
            let body = json!({"Container": "web"});
            assert_eq!(door.post(&format!("/networks/mine/{verb}"), Some(&body)).status, 200);
        }
        assert_eq!(door.delete("/networks/mine").status, 204);
        let filters = crate::client::escape(r#"{"type":["network"]}"#);
        let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
        let events = door.get(&format!("/events?since=1&until={until}&filters={filters}"));
        let events: Vec<Value> =
            serde_json::Deserializer::from_slice(&events.body).into_iter().map(Result::unwrap).collect();
        let actions: Vec<&str> = events.iter().map(|event| event["Action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["create", "connect", "disconnect", "destroy"]);
        assert!(events.iter().all(|event| event["Actor"]["ID"] == json!(id)), "{events:?}");
        assert_eq!(events[0]["Actor"]["Attributes"], json!({"name": "mine", "type": "bridge"}));
        assert_eq!(events[1]["Actor"]["Attributes"]["container"], json!(own));
    });
}

#[test]
fn a_container_has_the_mac_address_that_was_asked_for() {
    with_busybox(|door| {
        let script = "test $(cat /sys/class/net/eth0/address) = 92:d0:c6:0a:29:33";
        let place = json!({"EndpointsConfig": {"bridge": {"MacAddress": "92:d0:c6:0a:29:33"}}});
        let host = json!({"NetworkMode": "bridge"});
        for (name, change) in [
            ("endpoint", json!({"HostConfig": host, "NetworkingConfig": place})),
            ("container", json!({"HostConfig": host, "MacAddress": "92:D0:C6:0A:29:33"})),
        ] {
            let id = door.create(name, script, change);
            door.start(&id);
            assert_eq!(door.wait(&id), 0, "{name}");
        }
        let other = json!({"Image": "busybox", "HostConfig": host, "NetworkingConfig": place, "MacAddress": "02:00:00:00:00:01"});
        assert_eq!(door.post("/containers/create", Some(&other)).status, 400);
    });
}
