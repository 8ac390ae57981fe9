//! What a template works on: JSON, and the rows of lists, with Go's idea of each.
//!
//! A document is the daemon's JSON in its own order. What Docker's structures have and the JSON leaves out (`.State.Health` of
//! a container without a check) is found as empty, so that `{{if .State.Health}}` asks and does not fail.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Anything a template can hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Empty(Empty),
    Bool(bool),
    /// Wide enough for all of Go's.
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    List(Arc<Vec<Value>>),
    Map(Arc<Map>),
    /// `.Label "key"` of a row.
    Labels(Arc<Labels>),
}

/// What is not there, by what it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// A key that a map does not have.
    Nothing,
    Pointer,
    List,
    Map,
}

/// Named fields, in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    pub(crate) fields: Vec<(Arc<str>, Value)>,
    /// What can be asked for and is not shown.
    absent: Vec<(&'static str, Value)>,
    pub(crate) kind: Kind,
}

/// What Go would hold the fields in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A structure, shown as `{a b}`.
    Structure,
    /// A map, shown as `map[k:v]`.
    Map,
    /// A row of a list: a field that it does not have has a different complaint.
    Row,
}

/// The labels of a row, and how they are looked up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Labels {
    Of(Vec<(String, String)>),
    /// In a line of titles: a label is called by the last part of its key.
    Titles,
}

impl Labels {
    pub(crate) fn get(&self, key: &str) -> String {
        match self {
            Labels::Of(pairs) => {
                pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap_or_default()
            }
            Labels::Titles => key.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " "),
        }
    }
}

/// Fields that Docker's structures spell differently from its JSON: both are found.
const SPELLINGS: [(&str, &str); 14] = [
    ("ApiVersion", "APIVersion"),
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuShares", "CPUShares"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
    ("Id", "ID"),
    ("NanoCpus", "NanoCPUs"),
    ("scope", "Scope"),
    ("time", "Time"),
    ("timeNano", "TimeNano"),
];

impl Map {
    pub(crate) fn row(fields: Vec<(Arc<str>, Value)>) -> Map {
        Map { fields, absent: Vec::new(), kind: Kind::Row }
    }

    /// The field of that name, in either spelling.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let find = |name: &str| self.fields.iter().find(|(own, _)| **own == *name).map(|(_, value)| value);
        let other = || {
            let (wire, _) = SPELLINGS.iter().find(|(_, go)| *go == name)?;
            find(wire)
        };
        let absent = || self.absent.iter().find(|(own, _)| *own == name).map(|(_, value)| value);
        find(name).or_else(other).or_else(absent)
    }

    /// All values of a structure, those that the JSON left out last.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.fields.iter().map(|(_, value)| value).chain(self.absent.iter().map(|(_, value)| value))
    }

    /// The fields in the order of their names, as Go walks a map.
    pub(crate) fn sorted(&self) -> Vec<(&Arc<str>, &Value)> {
        let mut fields: Vec<_> = self.fields.iter().map(|(name, value)| (name, value)).collect();
        fields.sort_by_key(|(name, _)| *name);
        fields
    }

    /// What Go's map gives for a key that it does not have: text in a map of texts.
    pub(crate) fn missing(&self) -> Value {
        match self.fields.iter().all(|(_, value)| matches!(value, Value::Text(_))) {
            true => Value::text(""),
            false => Value::Empty(Empty::Nothing),
        }
    }
}

/// Objects that are maps in Docker's structures, by the field that holds them.
const MAPS: [&str; 21] = [
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Config",
    "Containers",
    "Data",
    "Details",
    "DriverOpts",
    "ExposedPorts",
    "IndexConfigs",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields that are lists where they are not null.
const LISTS: [&str; 32] = [
    "Aliases",
    "BindMounts",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "Mounts",
    "OnBuild",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// What Docker's structures have although the JSON leaves it out: the field that holds the structure, and its own.
const OPTIONAL: [(&str, &str, Zero); 24] = [
    ("", "Author", Zero::Text),
    ("", "Comment", Zero::Text),
    ("", "Platform", Zero::Text),
    ("", "SizeRootFs", Zero::Empty(Empty::Pointer)),
    ("", "SizeRw", Zero::Empty(Empty::Pointer)),
    ("", "Status", Zero::Empty(Empty::Map)),
    ("", "UsageData", Zero::Empty(Empty::Pointer)),
    ("", "Variant", Zero::Text),
    ("Config", "ArgsEscaped", Zero::Bool),
    ("Config", "ExposedPorts", Zero::Empty(Empty::Map)),
    ("Config", "Healthcheck", Zero::Empty(Empty::Pointer)),
    ("Config", "MacAddress", Zero::Text),
    ("Config", "NetworkDisabled", Zero::Bool),
    ("Config", "Shell", Zero::Empty(Empty::List)),
    ("Config", "StopSignal", Zero::Text),
    ("Config", "StopTimeout", Zero::Empty(Empty::Pointer)),
    ("HostConfig", "Annotations", Zero::Empty(Empty::Map)),
    ("HostConfig", "Init", Zero::Empty(Empty::Pointer)),
    ("HostConfig", "Mounts", Zero::Empty(Empty::List)),
    ("HostConfig", "NanoCpus", Zero::Int),
    ("HostConfig", "StorageOpt", Zero::Empty(Empty::Map)),
    ("HostConfig", "Sysctls", Zero::Empty(Empty::Map)),
    ("HostConfig", "Tmpfs", Zero::Empty(Empty::Map)),
    ("State", "Health", Zero::Empty(Empty::Pointer)),
];

/// What an absent field is.
#[derive(Debug, Clone, Copy)]
enum Zero {
    Bool,
    Empty(Empty),
    Int,
    Text,
}

impl Value {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    /// A document: an object is a structure or a map by the name of the field that holds it.
    pub(crate) fn document(json: Json) -> Value {
        from_json(json, "", Kind::Structure)
    }

    /// Whether `if` takes it for true.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Empty(_) => false,
            Value::Bool(flag) => *flag,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => map.kind != Kind::Map || !map.fields.is_empty(),
            Value::Labels(_) => true,
        }
    }

    /// Go's name of its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Empty(Empty::Nothing | Empty::Pointer) => "<nil>",
            Value::Empty(Empty::List) | Value::List(_) => "[]interface {}",
            Value::Empty(Empty::Map) | Value::Map(_) => "map[string]interface {}",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Labels(_) => "func(string) string",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::print::plain(self))
    }
}

fn from_json(json: Json, name: &str, kind: Kind) -> Value {
    match json {
        Json::Null => Value::Empty(match name {
            _ if MAPS.contains(&name) => Empty::Map,
            _ if LISTS.contains(&name) => Empty::List,
            _ => Empty::Pointer,
        }),
        Json::Bool(flag) => Value::Bool(flag),
        Json::Int(number) => Value::Int(number),
        Json::Float(number) => Value::Float(number),
        Json::Text(text) => Value::text(text),
        Json::List(items) => Value::List(Arc::new(
            items.into_iter().map(|item| from_json(item, "", Kind::Structure)).collect(),
        )),
        Json::Object(fields) => {
            let is_own = |parent: &str, own: &str| {
                kind == Kind::Structure && parent == name && !fields.iter().any(|(name, _)| name == own)
            };
            let absent = OPTIONAL.iter().filter(|(parent, own, _)| is_own(parent, own));
            let absent = absent.map(|(_, own, zero)| (*own, zero_value(*zero))).collect();
            let fields = fields.into_iter().map(|(own, value)| {
                // `.Config` is a structure, and a map within `.LogConfig`.
                let is_map = match own.as_str() {
                    "Config" => name == "LogConfig",
                    own => kind == Kind::Structure && MAPS.contains(&own),
                };
                let value = from_json(value, &own, if is_map { Kind::Map } else { Kind::Structure });
                (Arc::from(own), value)
            });
            Value::Map(Arc::new(Map { fields: fields.collect(), absent, kind }))
        }
    }
}

fn zero_value(zero: Zero) -> Value {
    match zero {
        Zero::Bool => Value::Bool(false),
        Zero::Empty(empty) => Value::Empty(empty),
        Zero::Int => Value::Int(0),
        Zero::Text => Value::text(""),
    }
}

/// JSON that keeps the order of its keys.
#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Int(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Json::Object(fields))
    }
}
