//! `--device` and `--gpus`: devices of the host, by path or by the name that their vendor gave them.

use api::docker::host_config::{DeviceMapping, DeviceRequest, HostConfig};
use clap::Arg;

use super::{limits, mounts};
use crate::error::Error;
use crate::flags::{Given, list};

/// What asks for all devices there are.
const ALL: i64 = -1;

pub(super) fn flags() -> Vec<Arg> {
    vec![
        list("device", "list", "Add a host device to the container"),
        list("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    ]
}

/// Fills in `Devices` and `DeviceRequests`.
pub(super) fn apply(given: &Given, host: &mut HostConfig) -> Result<(), Error> {
    let (mut mappings, mut names) = (Vec::new(), Vec::new());
    for device in given.parsed_list("device", device)? {
        match device {
            Device::Path(mapping) => mappings.push(mapping),
            Device::Name(name) => names.push(name),
        }
    }
    let mut requests = given.parsed_list("gpus", gpus)?;
    if !names.is_empty() {
        requests.push(DeviceRequest {
            driver: "cdi".into(),
            device_ids: Some(names),
            ..DeviceRequest::default()
        });
    }
    host.devices = Some(mappings).filter(|mappings| !mappings.is_empty());
    host.device_requests = Some(requests).filter(|requests| !requests.is_empty());
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Device {
    Path(DeviceMapping),
    /// `vendor/class=name`.
    Name(String),
}

fn device(text: &str) -> Result<Device, String> {
    match oci::cdi::QualifiedName::parse(text) {
        Some(name) => Ok(Device::Name(name.to_string())),
        None => limits::device(text).map(Device::Path),
    }
}

/// `all`, a number, or fields as of `--mount`: `driver`, `count`, `device`, `capabilities`, `options`.
fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest::default();
    let mut count_given = false;
    let mut capabilities = vec!["gpu".to_owned()];
    let mut seen: Vec<String> = Vec::new();
    for field in mounts::fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some(pair) => pair,
            None => ("count", field.as_str()),
        };
        if seen.iter().any(|known| known == key) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_owned());
        match key {
            "driver" => value.clone_into(&mut request.driver),
            "count" => {
                count_given = true;
                request.count = count(value)?;
            }
            "device" => request.device_ids = Some(value.split(',').map(str::to_owned).collect()),
            "capabilities" => {
                let mut asked: Vec<String> = value.split(',').map(str::to_owned).collect();
                if !asked.contains(&"gpu".to_owned()) {
                    asked.push("gpu".into());
                }
                capabilities = asked;
            }
            "options" => {
                let pairs = mounts::fields(value)?;
                let pairs = pairs.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                request.options =
                    Some(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !count_given && request.device_ids.is_none() {
        request.count = 1;
    }
    if count_given && request.count != 0 && request.device_ids.is_some() {
        return Err("cannot set both Count and DeviceIDs on device request".into());
    }
    request.capabilities = Some(vec![capabilities]);
    Ok(request)
}

fn count(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(ALL),
        number => number.parse().map_err(|_| {
            format!("invalid count ({number}): value must be either \"all\" or an integer: invalid syntax")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_a_path() {
        assert_eq!(device("vendor.com/class=name"), Ok(Device::Name("vendor.com/class=name".into())));
        assert!(matches!(device("/dev/null:/dev/x:r"), Ok(Device::Path(_))));
        assert_eq!(device("null"), Err("null is not an absolute path".into()));
    }

    #[test]
    fn requests_for_gpus() {
        let read = |text: &str| {
            gpus(text).map(|read| (read.driver, read.count, read.device_ids.unwrap_or_default()))
        };
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        for (text, expected) in [
            ("all", Ok((String::new(), -1, ids(&[])))),
            ("2", Ok((String::new(), 2, ids(&[])))),
            ("device=0", Ok((String::new(), 0, ids(&["0"])))),
            ("\"device=0,1\"", Ok((String::new(), 0, ids(&["0", "1"])))),
            ("driver=nvidia", Ok(("nvidia".into(), 1, ids(&[])))),
            (
                "foo",
                Err("invalid count (foo): value must be either \"all\" or an integer: invalid syntax".into()),
            ),
            ("count=1,count=2", Err("gpu request key 'count' can be specified only once".into())),
            ("count=1,device=0", Err("cannot set both Count and DeviceIDs on device request".into())),
            ("color=red", Err("unexpected key 'color' in 'color=red'".into())),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        let capabilities = gpus("all,\"capabilities=compute,utility\"").unwrap().capabilities.unwrap();
        assert_eq!(capabilities, [["compute", "utility", "gpu"]]);
    }
}
