//! Networks: the two that there are, read only, so that clients which list them go on.

use api::docker::network::{EndpointSettings, Ipam, Network};
use oci::digest::Digest;

use crate::call::Call;
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::reply::{self, Reply};
use crate::time;

/// Name and driver.
const NETWORKS: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

pub(crate) async fn list(call: Call) -> Result<Reply> {
    let filters =
        Filters::parse(&call.query, &["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let any = |name: &str, fits: &dyn Fn(&str) -> bool| {
        filters.values(name).is_empty() || filters.values(name).iter().any(|value| fits(value))
    };
    // They are built in, in use, and have no labels.
    let possible = any("type", &|kind| kind == "builtin")
        && any("scope", &|scope| scope == "local")
        && filters.labels().is_empty()
        && filters.flag("dangling")? != Some(true);
    let networks = NETWORKS.iter().filter(|(name, driver)| {
        possible
            && any("name", &|part| name.contains(part))
            && any("driver", &|wanted| *driver == wanted)
            && any("id", &|prefix| id(name).starts_with(prefix))
    });
    Ok(reply::ok(&networks.map(|(name, driver)| describe(name, driver)).collect::<Vec<_>>()))
}

pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let wanted = &call.name;
    let network = NETWORKS.iter().find(|(name, _)| name == wanted || id(name).starts_with(wanted.as_str()));
    match network {
        Some((name, driver)) => Ok(reply::ok(&describe(name, driver))),
        None => Err(Error::NotFound(format!("network {wanted} not found"))),
    }
}

/// What a container's inspect and summary show of its network.
pub(crate) fn endpoint(name: &str) -> EndpointSettings {
    EndpointSettings { network_id: id(name), ..EndpointSettings::default() }
}

/// The same on every machine and after every start.
fn id(name: &str) -> String {
    Digest::of(name.as_bytes()).hex().to_owned()
}

fn describe(name: &str, driver: &str) -> Network {
    Network {
        name: name.into(),
        id: id(name),
        created: time::rfc3339(None),
        scope: "local".into(),
        driver: driver.into(),
        ipam: Ipam { driver: "default".into(), config: Some(Vec::new()), options: None },
        ..Network::default()
    }
}
