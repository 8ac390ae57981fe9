//! The two networks that need no building, so that clients which list networks do not break.

use api::docker::network::{Ipam, Network};
use hyper::StatusCode;

use crate::answer::{self, Answer, Failure};

/// Name and driver, as Docker has them.
const NETWORKS: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

pub(crate) fn list() -> Answer {
    answer::ok(&NETWORKS.map(network))
}

pub(crate) fn inspect(name: &str) -> Answer {
    match NETWORKS.into_iter().find(|(known, _)| *known == name) {
        Some(found) => answer::ok(&network(found)),
        None => Err(Failure::new(StatusCode::NOT_FOUND, format!("network {name} not found"))),
    }
}

fn network((name, driver): (&str, &str)) -> Network {
    Network {
        name: name.into(),
        id: name.into(),
        created: crate::when::short(None),
        scope: "local".into(),
        driver: driver.into(),
        ipam: Ipam { driver: "default".into(), ..Ipam::default() },
        ..Network::default()
    }
}
