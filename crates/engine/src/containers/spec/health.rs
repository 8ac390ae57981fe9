//! How a container is asked whether it is well: Docker's HEALTHCHECK.

use oci::image_config;
use serde::{Deserialize, Serialize};

/// A health check as a client or an image says it. Zero (or empty) is what was not said: the image's, else Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheckSpec {
    /// `CMD` and arguments, `CMD-SHELL` and a line for the shell, or `NONE`.
    pub test: Vec<String>,
    pub interval_ns: i64,
    pub timeout_ns: i64,
    /// Failures within this time after the start do not count.
    pub start_period_ns: i64,
    /// The interval within the start period until the first success.
    pub start_interval_ns: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

impl HealthCheckSpec {
    /// Completes what a client said with what the image says.
    pub(crate) fn merge(&mut self, image: &image_config::Healthcheck) {
        if self.test.is_empty() {
            self.test.clone_from(&image.test);
        }
        let fields = [
            (&mut self.interval_ns, image.interval),
            (&mut self.timeout_ns, image.timeout),
            (&mut self.start_period_ns, image.start_period),
            (&mut self.start_interval_ns, image.start_interval),
            (&mut self.retries, image.retries),
        ];
        for (own, images) in fields {
            if *own == 0 {
                *own = images.unwrap_or(0);
            }
        }
    }
}
