//! `--change`: Dockerfile instructions that set an image's configuration. Pure.
//!
//! Words are split as a shell does, without variables: there is no build environment that could define any.

mod health;

use oci::image_config::RuntimeConfig;

/// What runs a text that is no list of words.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Why an instruction is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("{0} needs an argument")]
    Empty(&'static str),
    #[error("{0} takes one argument")]
    NotOne(&'static str),
    #[error("`{0}` is not `key=value`")]
    NotAPair(String),
    #[error("`{0}` is not a port such as `80`, `53/udp` or `8000-8010`")]
    Port(String),
    #[error("{0} needs a list of words such as `[\"sh\", \"-c\"]`")]
    NotAList(&'static str),
    #[error("`{0}` is not an option of HEALTHCHECK with its value")]
    HealthOption(String),
    #[error("HEALTHCHECK is followed by NONE, or by CMD and a command")]
    HealthCommand,
    #[error("{0} is not allowed as an ONBUILD trigger")]
    Trigger(String),
    #[error("the quotes are not balanced")]
    Quotes,
    #[error("`{0}` cannot be changed")]
    Unknown(String),
}

/// Applies one instruction; its name, in capitals.
pub(super) fn apply(config: &mut RuntimeConfig, change: &str) -> Result<String, ChangeError> {
    let change = change.trim();
    let (instruction, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    let name = instruction.to_ascii_uppercase();
    match name.as_str() {
        "CMD" => config.cmd = Some(command(rest, "CMD", config.shell.as_deref())?),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest, "ENTRYPOINT", config.shell.as_deref())?),
        "HEALTHCHECK" => config.healthcheck = Some(health::parse(rest)?),
        "ONBUILD" => config.on_build.push(trigger(rest)?),
        "SHELL" => {
            let words = json_words(rest).filter(|words| !words.is_empty());
            config.shell = Some(words.ok_or(ChangeError::NotAList("SHELL"))?);
        }
        "ENV" => {
            for (key, value) in pairs(rest, "ENV")? {
                let prefix = format!("{key}=");
                config.env.retain(|entry| !entry.starts_with(&prefix));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest, "LABEL")?),
        "EXPOSE" => {
            for word in some(words(rest)?, "EXPOSE")? {
                config.exposed_ports.extend(ports(&word)?);
            }
        }
        "VOLUME" => {
            let volumes = match json_words(rest) {
                Some(volumes) => volumes,
                None => words(rest)?,
            };
            config.volumes.extend(some(volumes, "VOLUME")?);
        }
        "USER" => config.user = one(rest, "USER")?,
        "WORKDIR" => config.working_dir = joined(&config.working_dir, &one(rest, "WORKDIR")?),
        "STOPSIGNAL" => config.stop_signal = one(rest, "STOPSIGNAL")?,
        _ => return Err(ChangeError::Unknown(instruction.to_owned())),
    }
    Ok(name)
}

/// `["a", "b"]`, or a text for the shell.
fn command(
    text: &str,
    instruction: &'static str,
    shell: Option<&[String]>,
) -> Result<Vec<String>, ChangeError> {
    match json_words(text) {
        Some(words) => Ok(words),
        None if text.is_empty() => Err(ChangeError::Empty(instruction)),
        None => {
            let mut words = shell.map_or_else(|| SHELL.map(str::to_owned).to_vec(), <[String]>::to_vec);
            words.push(text.to_owned());
            Ok(words)
        }
    }
}

/// What a build of an image on top of this one does first; not another trigger.
fn trigger(text: &str) -> Result<String, ChangeError> {
    let instruction = text.split_whitespace().next().ok_or(ChangeError::Empty("ONBUILD"))?;
    match instruction.to_ascii_uppercase().as_str() {
        refused @ ("ONBUILD" | "FROM" | "MAINTAINER") => Err(ChangeError::Trigger(refused.to_owned())),
        _ => Ok(text.to_owned()),
    }
}

fn json_words(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn words(text: &str) -> Result<Vec<String>, ChangeError> {
    shlex::split(text).ok_or(ChangeError::Quotes)
}

fn some(words: Vec<String>, instruction: &'static str) -> Result<Vec<String>, ChangeError> {
    if words.is_empty() { Err(ChangeError::Empty(instruction)) } else { Ok(words) }
}

fn one(text: &str, instruction: &'static str) -> Result<String, ChangeError> {
    let mut words = some(words(text)?, instruction)?;
    match words.len() {
        1 => Ok(words.remove(0)),
        _ => Err(ChangeError::NotOne(instruction)),
    }
}

/// `a=b c="d e"`, or the old form `a the rest`.
fn pairs(text: &str, instruction: &'static str) -> Result<Vec<(String, String)>, ChangeError> {
    let words = some(words(text)?, instruction)?;
    if !words[0].contains('=') {
        let (key, value) =
            text.split_once(char::is_whitespace).ok_or_else(|| ChangeError::NotAPair(text.to_owned()))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ChangeError::NotAPair(word)),
    };
    words.into_iter().map(pair).collect()
}

/// `80`, `80/udp`, `8000-8002/tcp`, as `port/protocol` each.
fn ports(text: &str) -> Result<Vec<String>, ChangeError> {
    let refused = || ChangeError::Port(text.to_owned());
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refused);
    let (first, last) = (number(first)?, number(last)?);
    if first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(refused());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// A relative directory continues the one before.
fn joined(base: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instruction_sets_its_field() {
        let mut config = RuntimeConfig::default();
        for change in [
            r#"CMD ["echo", "a b"]"#,
            "entrypoint exec  me",
            "ENV A=1 B=\"two words\"",
            "ENV A=3",
            "ENV OLD the rest of it",
            "EXPOSE 80 53/UDP 8000-8001",
            "LABEL x=y \"a b\"='c d'",
            "USER 33:33",
            "WORKDIR /srv",
            "WORKDIR www",
            "VOLUME /a /b",
            r#"VOLUME ["/c d"]"#,
            "STOPSIGNAL SIGINT",
        ] {
            apply(&mut config, change).unwrap_or_else(|error| panic!("{change}: {error}"));
        }
        assert_eq!(config.cmd.unwrap(), ["echo", "a b"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "exec  me"]);
        assert_eq!(config.env, ["B=two words", "A=3", "OLD=the rest of it"]);
        assert_eq!(
            config.exposed_ports.into_iter().collect::<Vec<_>>(),
            ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
        );
        assert_eq!(config.labels["a b"], "c d");
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("33:33", "/srv/www"));
        assert_eq!(config.volumes.into_iter().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
        assert_eq!(config.stop_signal, "SIGINT");
    }

    #[test]
    fn health_checks_triggers_and_shells_are_set() {
        let mut config = RuntimeConfig::default();
        for change in [
            "HEALTHCHECK --interval=5m --timeout=3s --start-period=1s --start-interval=1ms --retries=2 CMD curl -f x || exit 1",
            r#"SHELL ["/bin/bash", "-ec"]"#,
            "CMD echo hi",
            "ONBUILD RUN make  it",
            "ONBUILD COPY . /",
        ] {
            apply(&mut config, change).unwrap_or_else(|error| panic!("{change}: {error}"));
        }
        let health = config.healthcheck.take().unwrap();
        assert_eq!(health.test, ["CMD-SHELL", "curl -f x || exit 1"]);
        assert_eq!((health.interval, health.timeout), (Some(300_000_000_000), Some(3_000_000_000)));
        assert_eq!((health.start_period, health.start_interval), (Some(1_000_000_000), Some(1_000_000)));
        assert_eq!(health.retries, Some(2));
        assert_eq!(config.cmd.take().unwrap(), ["/bin/bash", "-ec", "echo hi"]);
        assert_eq!(config.on_build, ["RUN make  it", "COPY . /"]);
        apply(&mut config, r#"HEALTHCHECK CMD ["a", "b"]"#).unwrap();
        assert_eq!(config.healthcheck.take().unwrap().test, ["CMD", "a", "b"]);
        apply(&mut config, "HEALTHCHECK none").unwrap();
        assert_eq!(config.healthcheck.take().unwrap().test, ["NONE"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for change in [
            "",
            "RUN true",
            "CMD",
            "ENV",
            "ENV A",
            "ENV A=1 B",
            "ENV =x",
            "EXPOSE",
            "EXPOSE 0",
            "EXPOSE 99999",
            "EXPOSE 9-1",
            "EXPOSE 80/icmp",
            "EXPOSE a",
            "USER",
            "USER a b",
            "WORKDIR",
            "VOLUME",
            "LABEL \"a",
            "SHELL /bin/sh",
            "SHELL []",
            "ONBUILD",
            "ONBUILD FROM x",
            "onbuild onbuild RUN x",
            "HEALTHCHECK",
            "HEALTHCHECK curl",
            "HEALTHCHECK CMD",
            "HEALTHCHECK NONE x",
            "HEALTHCHECK --interval CMD x",
            "HEALTHCHECK --interval=5 CMD x",
            "HEALTHCHECK --interval=-5s CMD x",
            "HEALTHCHECK --retries=x CMD x",
            "HEALTHCHECK --other=5s CMD x",
        ] {
            assert!(apply(&mut RuntimeConfig::default(), change).is_err(), "{change}");
        }
    }
}
