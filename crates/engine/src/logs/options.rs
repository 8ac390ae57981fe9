//! Log drivers and their options, in Docker's words. Pure.
//!
//! A container keeps what it was asked for as text, because that is what clients want to see again. It is read here: when the
//! container is made, so that nonsense is refused while somebody can mend it, and at each start.

mod remote;
mod values;

use std::collections::BTreeMap;

use crate::containers::spec::LogSpec;
use crate::error::{Error, Result};
pub(super) use remote::{Fluentd, Place, Syslog};
use values::{boolean, byte_count, decimal_size};

/// More of them make a rotation slow, and nobody keeps as many.
const FILES_MAX: u32 = 1000;

/// Docker's defaults of `local`, and of the file beside a collector.
const LOCAL_SIZE_BYTES: u64 = 20_000_000;
const LOCAL_FILES: u32 = 5;

/// What may wait for a collector when nothing is said. Docker's default of `max-buffer-size` and of `fluentd-buffer-limit`.
const BUFFER_BYTES: u64 = 1 << 20;

/// More waits in memory than anybody should lose.
const BUFFER_MAX_BYTES: u64 = 1 << 30;

/// Docker's drivers that are not there.
const ABSENT: [&str; 5] = ["gelf", "awslogs", "splunk", "gcplogs", "etwlogs"];

/// The drivers that are there, as `docker info` lists them.
pub const DRIVERS: [&str; 6] = ["fluentd", "journald", "json-file", "local", "none", "syslog"];

/// Options of every driver but `none`, and of every driver that has a collector.
const OF_ALL: [&str; 2] = ["mode", "max-buffer-size"];
const OF_CACHE: [&str; 4] = ["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
const OF_MARKS: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
const OF_FILE: [&str; 3] = ["max-size", "max-file", "compress"];

/// What a log is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogPlan {
    /// Where it can be read back from.
    pub(super) file: Option<FilePlan>,
    pub(super) collector: Option<Collector>,
    pub(super) marks: Marks,
}

/// The file and its rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilePlan {
    /// 0: never rotated.
    pub(super) max_size_bytes: u64,
    pub(super) max_files: u32,
    pub(super) compress: bool,
}

/// Somebody who collects entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collector {
    pub(super) kind: CollectorKind,
    pub(super) buffer_bytes: u64,
    /// What does not fit is dropped at once.
    pub(super) drops: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CollectorKind {
    Journald,
    Syslog(Syslog),
    Fluentd(Fluentd),
}

/// What entries are marked with, as far as the options say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Names, and regular expressions of names.
    pub(super) labels: Vec<String>,
    pub(super) labels_regex: Option<String>,
    pub(super) env: Vec<String>,
    pub(super) env_regex: Option<String>,
    /// A Go template.
    pub(super) tag: Option<String>,
}

impl LogSpec {
    /// Completed by what the daemon says of containers that say nothing: its driver, and its options for that driver.
    pub(crate) fn or_default(mut self, default: &LogSpec) -> LogSpec {
        if self.driver.is_empty() {
            self.driver.clone_from(&default.driver);
        }
        if self.driver == default.driver {
            for (name, value) in &default.options {
                self.options.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        self
    }

    /// Refuses what cannot be. The daemon's own defaults are checked with it as well.
    pub fn check(&self) -> Result<()> {
        LogPlan::parse(self)?.marks.check()
    }

    /// Whether the log can be read back.
    pub(crate) fn is_readable(&self) -> bool {
        LogPlan::parse(self).is_ok_and(|plan| plan.file.is_some())
    }
}

impl LogPlan {
    /// Reads a driver and its options.
    pub(super) fn parse(spec: &LogSpec) -> Result<LogPlan> {
        let driver = spec.driver.as_str();
        let options = Options { driver, given: &spec.options };
        let collector = match driver {
            // As Docker: what is not logged may be logged in any way.
            "none" => return Ok(LogPlan { file: None, collector: None, marks: Marks::default() }),
            "json-file" | "" => {
                options.know("json-file log driver", &[&OF_FILE, &OF_MARKS])?;
                None
            }
            "local" => {
                options.know("log driver local", &[&OF_FILE])?;
                None
            }
            "journald" => {
                options.know("journald log driver", &[&OF_MARKS])?;
                Some(CollectorKind::Journald)
            }
            "syslog" => Some(CollectorKind::Syslog(remote::syslog(&options)?)),
            "fluentd" => Some(CollectorKind::Fluentd(remote::fluentd(&options)?)),
            absent if ABSENT.contains(&absent) => {
                let name = format!("the log driver `{absent}` (`--log-driver`) is not there yet");
                return Err(Error::Unsupported(name));
            }
            unknown => {
                return Err(Error::InvalidArgument(format!(
                    "error looking up logging plugin {unknown}: plugin {unknown:?} not found"
                )));
            }
        };
        let (drops, buffer_bytes) = options.mode()?;
        let file = match &collector {
            Some(_) => options.cache()?,
            None => Some(options.file()?),
        };
        let own_buffer = match &collector {
            Some(CollectorKind::Fluentd(fluentd)) => fluentd.buffer_bytes,
            _ => None,
        };
        let buffer_bytes = buffer_bytes.or(own_buffer).unwrap_or(BUFFER_BYTES).min(BUFFER_MAX_BYTES);
        let collector = collector.map(|kind| Collector { kind, buffer_bytes, drops });
        Ok(LogPlan { file, collector, marks: options.marks() })
    }
}

/// The options of one container.
#[derive(Debug, Clone, Copy)]
struct Options<'a> {
    driver: &'a str,
    given: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.given.get(name).map(String::as_str)
    }

    /// Refuses names that the driver does not have.
    fn know(&self, driver: &str, known: &[&[&str]]) -> Result<()> {
        let everywhere = [&OF_ALL[..], &OF_CACHE[..]];
        let is_known = |name: &str| known.iter().chain(&everywhere).any(|names| names.contains(&name));
        match self.given.keys().find(|name| !is_known(name)) {
            Some(name) => Err(invalid(format!("unknown log opt '{name}' for {driver}"))),
            None => Ok(()),
        }
    }

    /// Whether entries are dropped at once when they cannot go on, and how much may wait.
    fn mode(&self) -> Result<(bool, Option<u64>)> {
        let drops = match self.text("mode").unwrap_or_default() {
            "" | "blocking" => false,
            "non-blocking" => true,
            other => return Err(invalid(format!("logger: logging mode not supported: {other}"))),
        };
        let Some(size) = self.text("max-buffer-size") else { return Ok((drops, None)) };
        if !drops {
            let why = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
            return Err(invalid(why.into()));
        }
        let size = byte_count(size)
            .map_err(|error| invalid(format!("error parsing option max-buffer-size: {error}")))?;
        Ok((drops, Some(size)))
    }

    /// The file that is the log.
    fn file(&self) -> Result<FilePlan> {
        let is_local = self.driver == "local";
        let defaults = FilePlan {
            max_size_bytes: if is_local { LOCAL_SIZE_BYTES } else { 0 },
            max_files: if is_local { LOCAL_FILES } else { 1 },
            compress: is_local,
        };
        self.check_cache()?;
        // Docker checks what `local` is told when the container is made, and `json-file` when it starts.
        let at_start = |error: Error| match is_local {
            true => error,
            false => invalid(format!("failed to initialize logging driver: {error}")),
        };
        let plan = self.rotation(["max-size", "max-file", "compress"], defaults).map_err(at_start)?;
        if is_local && plan.max_size_bytes == 0 {
            let size = self.text("max-size").unwrap_or_default();
            return Err(invalid(format!("invalid value for max-size: {size}: invalid size: '{size}'")));
        }
        let is_asked = self.text("compress").is_some();
        if plan.compress && (plan.max_files < 2 || plan.max_size_bytes == 0) {
            if !is_local || is_asked {
                let why = "compress cannot be true when max-file is less than 2 or max-size is not set";
                return Err(at_start(invalid(why.into())));
            }
            // With one file there is nothing to compress: whoever asked for one did not ask for compression.
            return Ok(FilePlan { compress: false, ..plan });
        }
        Ok(plan)
    }

    /// The file beside a collector, so that the log can be read back.
    fn cache(&self) -> Result<Option<FilePlan>> {
        if self.check_cache()? {
            return Ok(None);
        }
        let defaults = FilePlan { max_size_bytes: LOCAL_SIZE_BYTES, max_files: LOCAL_FILES, compress: true };
        let plan = self.rotation(["cache-max-size", "cache-max-file", "cache-compress"], defaults)?;
        let compress = plan.compress && plan.max_files > 1 && plan.max_size_bytes > 0;
        Ok(Some(FilePlan { compress, ..plan }))
    }

    /// Whether there is to be none. Docker checks that for every driver.
    fn check_cache(&self) -> Result<bool> {
        let Some(disabled) = self.text("cache-disabled") else { return Ok(false) };
        boolean(disabled).map_err(|_| invalid(format!("invalid value for option cache-disabled: {disabled}")))
    }

    fn rotation(&self, [size, files, compress]: [&str; 3], defaults: FilePlan) -> Result<FilePlan> {
        let mut plan = defaults;
        if let Some(text) = self.text(size) {
            plan.max_size_bytes = match text {
                "-1" => 0,
                text => decimal_size(text).map_err(invalid)?,
            };
        }
        if let Some(text) = self.text(files) {
            let wrong = || invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
            let number: i64 = text.parse().map_err(|_| wrong())?;
            if number < 1 {
                return Err(invalid(format!("{files} cannot be less than 1")));
            }
            plan.max_files = u32::try_from(number)
                .ok()
                .filter(|number| *number <= FILES_MAX)
                .ok_or_else(|| invalid(format!("{files} cannot be more than {FILES_MAX}")))?;
        }
        if let Some(text) = self.text(compress) {
            plan.compress = boolean(text).map_err(invalid)?;
        }
        Ok(plan)
    }

    fn marks(&self) -> Marks {
        let names = |name: &str| {
            let names = self.text(name).unwrap_or_default().split(',');
            names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let text = |name: &str| self.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        Marks {
            labels: names("labels"),
            labels_regex: text("labels-regex"),
            env: names("env"),
            env_regex: text("env-regex"),
            tag: text("tag"),
        }
    }
}

fn invalid(text: String) -> Error {
    Error::InvalidArgument(text)
}

#[cfg(test)]
mod tests;
