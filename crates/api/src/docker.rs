//! The JSON of the Docker Engine API (<https://docs.docker.com/reference/api/engine/>), shared by the door and the CLI.
//!
//! The names and the difference between `null`, `[]` and an absent field are those that the Go daemon writes, because
//! clients depend on them. Reading follows Go as well: any field may be missing or `null` and then has its zero value,
//! and unknown fields are skipped. A field that Go writes as `null` when it is empty is an `Option` here; one that Go
//! leaves out (`omitempty`) has `skip_serializing_if`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Defines the structs of one noun: `PascalCase` names, every field optional and nullable when read.
///
/// A macro because serde has no container attribute for "`null` is the default".
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $($(#[$field_meta])*
            #[serde(deserialize_with = "crate::docker::null_is_default")]
            pub $field: $type,)*
        }
    )*};
}

pub mod container;
pub mod event;
pub mod exec;
pub mod host_config;
pub mod image;
pub mod moment;
pub mod namespace;
pub mod network;
pub mod stats;
pub mod system;
pub mod volume;

/// Name to value, sorted, as labels and options are.
pub type StringMap = BTreeMap<String, String>;

wire! {
    /// The body of every answer with an error status.
    pub struct ErrorBody {
        #[serde(rename = "message")]
        pub message: String,
    }

    /// Any answer that only names what was made (`POST /containers/{id}/exec`).
    pub struct IdResponse {
        pub id: String,
    }

    /// One line of a progress stream (`/images/load`, `/images/create`).
    pub struct Progress {
        #[serde(rename = "stream", skip_serializing_if = "String::is_empty")]
        pub stream: String,
        #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
        pub status: String,
        #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
        pub id: String,
        #[serde(rename = "progress", skip_serializing_if = "String::is_empty")]
        pub progress: String,
        #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
        pub progress_detail: Option<ProgressDetail>,
        #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
        pub error_detail: Option<ErrorDetail>,
        #[serde(rename = "error", skip_serializing_if = "String::is_empty")]
        pub error: String,
        /// What was made, for programs.
        #[serde(rename = "aux", skip_serializing_if = "Option::is_none")]
        pub aux: Option<BTreeMap<String, serde_json::Value>>,
    }

    /// How far a transfer is, in bytes.
    pub struct ProgressDetail {
        #[serde(rename = "current", skip_serializing_if = "is_zero")]
        pub current: i64,
        #[serde(rename = "total", skip_serializing_if = "is_zero")]
        pub total: i64,
    }

    /// The error that ends a progress stream: the status line was already sent.
    pub struct ErrorDetail {
        #[serde(rename = "code", skip_serializing_if = "is_zero")]
        pub code: i64,
        #[serde(rename = "message")]
        pub message: String,
    }
}

/// The value that Go sends for "present, without content" (`struct{}`): `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present;

impl Serialize for Present {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<((), ())>())
    }
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Present, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Present)
    }
}

/// A command line: Docker takes one string or a list, and always answers with a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Command(pub Vec<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Command, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            Words(Vec<String>),
        }
        Ok(Command(match Form::deserialize(deserializer)? {
            Form::Word(word) => vec![word],
            Form::Words(words) => words,
        }))
    }
}

/// Reads a field the way Go does: `null` leaves the zero value.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::container::{ContainerCreateBody, MountPoint};
    use super::host_config::HostConfig;
    use super::{Command, Progress};

    #[test]
    fn null_and_missing_fields_read_as_zero() {
        let body: ContainerCreateBody = serde_json::from_str(
            r#"{"Image":"busybox","Cmd":"true","Tty":null,"Env":null,"Volumes":{"/a":{},"/b":null},
                "HostConfig":{"Memory":null,"NetworkMode":"none","PortBindings":{"80/tcp":null}},
                "NetworkingConfig":{"EndpointsConfig":{"bridge":null}},"Unknown":[1]}"#,
        )
        .unwrap();
        assert_eq!(body.config.image, "busybox");
        assert_eq!(body.config.cmd, Some(Command(vec!["true".into()])));
        assert!(!body.config.tty);
        assert_eq!(body.config.env, None);
        assert_eq!(body.config.volumes.unwrap().len(), 2);
        assert_eq!(body.host_config.network_mode, "none");
        assert_eq!(body.networking_config.unwrap().endpoints_config.unwrap().len(), 1);
    }

    #[test]
    fn a_wrong_field_is_an_error_wherever_it_is() {
        for text in
            [r#"{"Cmd":3}"#, r#"{"Tty":"yes"}"#, r#"{"HostConfig":{"Memory":"1g"}}"#, r#"{"Env":{}}"#, "[]"]
        {
            assert!(serde_json::from_str::<ContainerCreateBody>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn empty_is_written_as_go_writes_it() {
        let host = serde_json::to_value(HostConfig::default()).unwrap();
        assert!(host["Binds"].is_null());
        assert!(host["Sysctls"].is_null(), "left out");
        assert!(host.get("Sysctls").is_none());
        assert_eq!(host["LogConfig"]["Type"], "");
        assert_eq!(host["ConsoleSize"], serde_json::json!([0, 0]));
        assert!(host.get("PidsLimit").unwrap().is_null());
        assert_eq!(
            serde_json::to_string(&Progress { stream: "x".into(), ..Progress::default() }).unwrap(),
            r#"{"stream":"x"}"#
        );
        let mount = serde_json::to_value(MountPoint { rw: true, ..MountPoint::default() }).unwrap();
        assert_eq!(mount["RW"], true);
        assert!(mount.get("Driver").is_none());
    }
}
