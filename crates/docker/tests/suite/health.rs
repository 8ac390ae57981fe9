//! Health checks as Docker's clients ask for them and see them.

use serde_json::json;

use crate::door::with_busybox;

#[test]
fn a_health_check_shows_in_inspect_lists_and_filters() {
    with_busybox(|door| {
        let check = json!({"Test": ["CMD-SHELL", "echo hi"], "Interval": 20_000_000, "Retries": 2});
        let forever = "while :; do sleep 1; done";
        let id = door.create("well", forever, json!({"Healthcheck": check, "Shell": ["/bin/sh", "-c"]}));
        door.create("plain", forever, json!({}));
        let inspect = || door.get(&format!("/containers/{id}/json")).json();
        assert_eq!(inspect()["Config"]["Healthcheck"], check);
        assert_eq!(inspect()["Config"]["Shell"], json!(["/bin/sh", "-c"]));
        assert!(inspect()["State"].get("Health").is_none());
        door.start("well");
        door.start("plain");
        door.until("it is healthy", || inspect()["State"]["Health"]["Status"] == "healthy");
        let health = inspect()["State"]["Health"].clone();
        assert_eq!(health["FailingStreak"], 0);
        assert_eq!((&health["Log"][0]["ExitCode"], &health["Log"][0]["Output"]), (&json!(0), &json!("hi\n")));
        assert!(health["Log"][0]["Start"].as_str().unwrap().ends_with('Z'));
        let listed = |filter: &str| {
            let shown =
                door.get(&format!("/containers/json?filters=%7B%22health%22:[%22{filter}%22]%7D")).json();
            let line = |one: &serde_json::Value| {
                format!("{} {}", one["Names"][0].as_str().unwrap(), one["Status"].as_str().unwrap())
            };
            shown.as_array().unwrap().iter().map(line).collect::<Vec<_>>()
        };
        let healthy = listed("healthy");
        assert!(healthy.len() == 1 && healthy[0].starts_with("/well Up"), "{healthy:?}");
        assert!(healthy[0].ends_with("(healthy)"), "{healthy:?}");
        assert_eq!(listed("none").len(), 1);
        assert!(listed("starting").is_empty());
        assert_eq!(door.get("/containers/json?filters=%7B%22health%22:[%22x%22]%7D").status, 400);
    });
}

#[test]
fn a_check_that_cannot_be_is_refused_in_dockers_words() {
    with_busybox(|door| {
        let create = |version: &str, check: serde_json::Value| {
            let body = json!({"Image": "busybox", "Cmd": ["true"], "Healthcheck": check});
            door.post(&format!("{version}/containers/create"), Some(&body))
        };
        for (check, text) in [
            (json!({"Test": ["CMD", "x"], "Interval": 1}), "Interval in Healthcheck cannot be less than 1ms"),
            (json!({"StartInterval": -5}), "StartInterval in Healthcheck cannot be less than 1ms"),
            (json!({"Retries": -1}), "Retries in Healthcheck cannot be negative"),
        ] {
            let answer = create("", check);
            assert_eq!((answer.status, answer.message().as_str()), (400, text));
        }
        let made = create("/v1.43", json!({"Test": ["CMD", "x"], "StartInterval": 5_000_000}));
        let id = made.json()["Id"].as_str().unwrap().to_owned();
        let config = door.get(&format!("/containers/{id}/json")).json()["Config"].clone();
        assert_eq!(config["Healthcheck"], json!({"Test": ["CMD", "x"]}), "older versions do not have it");
    });
}
