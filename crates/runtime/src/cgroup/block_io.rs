//! Block I/O: weights and rates, for all devices and for single ones, as each version writes them.

use oci::runtime_spec::{BlockIo, ThrottleDevice};

use super::Result;
use super::Version::{V1, V2};
use super::plan::{Setting, Step, check_range};

/// The files that bound one rate: v1's, and v2's key in `io.max`.
type Rate<'a> = (&'a [ThrottleDevice], &'static str, &'static str);

/// What to write.
pub(super) fn steps(io: &BlockIo, is_v1: bool) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if let Some(weight) = io.weight.filter(|&weight| weight != 0) {
        check_range("block I/O weight", weight.into(), 10, 1000)?;
        steps.push(Step::Write(weight_of("", weight, is_v1)));
    }
    for device in &io.weight_device {
        check_range("block I/O weight", device.weight.into(), 10, 1000)?;
        let number = format!("{}:{}", device.major, device.minor);
        steps.push(Step::Write(weight_of(&number, device.weight, is_v1)));
    }
    let rates: [Rate<'_>; 4] = [
        (&io.throttle_read_bps_device, "blkio.throttle.read_bps_device", "rbps"),
        (&io.throttle_write_bps_device, "blkio.throttle.write_bps_device", "wbps"),
        (&io.throttle_read_iops_device, "blkio.throttle.read_iops_device", "riops"),
        (&io.throttle_write_iops_device, "blkio.throttle.write_iops_device", "wiops"),
    ];
    for (devices, file, key) in rates {
        for ThrottleDevice { major, minor, rate } in devices {
            steps.push(Step::Write(if is_v1 {
                Setting::new(V1, "blkio", file, format!("{major}:{minor} {rate}"))
            } else {
                Setting::new(V2, "io", "io.max", format!("{major}:{minor} {key}={rate}"))
            }));
        }
    }
    Ok(steps)
}

/// The weight of a device, or of all of them; BFQ has files of its own. v2 has 1 to 10000 where v1 has 10 to 1000.
fn weight_of(device: &str, weight: u16, is_v1: bool) -> Setting {
    let of = |weight: u32| format!("{device} {weight}").trim_start().to_owned();
    let own = of(weight.into());
    if is_v1 {
        return match device {
            "" => Setting::new(V1, "blkio", "blkio.weight", &own).or("blkio.bfq.weight", own),
            _ => Setting::new(V1, "blkio", "blkio.weight_device", &own).or("blkio.bfq.weight_device", own),
        };
    }
    let converted = 1 + (u32::from(weight) - 10) * 9999 / 990;
    if device.is_empty() {
        // Nearly every kernel has both, and `io.weight` does nothing until somebody sets up its cost model.
        return Setting::new(V2, "io", "io.bfq.weight", own).or("io.weight", format!("default {converted}"));
    }
    Setting::new(V2, "io", "io.weight", of(converted)).or("io.bfq.weight", own)
}
