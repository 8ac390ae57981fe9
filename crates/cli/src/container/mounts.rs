//! `-v`, `--mount`, `--tmpfs`: what is mounted into a container.

use std::path::Path;

use api::docker::host_config::{
    BindOptions, DriverConfig, ImageOptions, MountRequest, TmpfsOptions, VolumeOptions,
};

use clap::Arg;

use crate::flags::value;
use crate::size;

pub(super) fn flags() -> Vec<Arg> {
    vec![value("volume-driver", "string", "Optional volume driver for the container")]
}

/// One `-v`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A path only: a volume without a name.
    Anonymous(String),
    /// `SOURCE:TARGET[:OPTIONS]`, the source absolute or the name of a volume.
    Bind(String),
}

/// Reads one `-v`; a source that begins with a point is a path below `directory`.
pub(crate) fn volume(text: &str, directory: &Path) -> Result<Volume, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".into());
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    match parts[..] {
        [target] => Ok(Volume::Anonymous(target.to_owned())),
        [source, target] => Ok(Volume::Bind(format!("{}:{target}", absolute(source, directory)))),
        [source, target, options] => {
            Ok(Volume::Bind(format!("{}:{target}:{options}", absolute(source, directory))))
        }
        _ => Err(format!("invalid spec: {text}: too many colons")),
    }
}

/// A source that begins with a point is a path; without one it may be a volume's name.
fn absolute(source: &str, directory: &Path) -> String {
    if !source.starts_with('.') {
        return source.to_owned();
    }
    let mut path = directory.to_path_buf();
    for component in Path::new(source).components() {
        match component {
            std::path::Component::ParentDir => drop(path.pop()),
            std::path::Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path.display().to_string()
}

/// `TARGET[:OPTIONS]`.
pub(crate) fn tmpfs(text: &str) -> (String, String) {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    (target.to_owned(), options.to_owned())
}

/// Reads one `--mount`: fields `KEY[=VALUE]` separated by commas, quoted as CSV.
pub(crate) fn mount(text: &str, directory: &Path) -> Result<MountRequest, String> {
    if text.is_empty() {
        return Err("EOF".into());
    }
    let mut mount = MountRequest { kind: "volume".into(), ..MountRequest::default() };
    for field in fields(text)? {
        let (key, value) = field.split_once('=').map_or((&*field, None), |(key, value)| (key, Some(value)));
        apply(&mut mount, &key.to_lowercase(), value, &field)?;
    }
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    let is_path = mount.kind == "bind" && mount.source.starts_with('.');
    if is_path {
        mount.source = absolute(&mount.source, directory);
    }
    let foreign = [
        ("bind", "bind-*", mount.bind_options.is_some()),
        ("tmpfs", "tmpfs-*", mount.tmpfs_options.is_some()),
        ("volume", "volume-*", mount.volume_options.is_some()),
        ("image", "image-*", mount.image_options.is_some()),
    ];
    match foreign.iter().find(|(kind, _, is_given)| *is_given && *kind != mount.kind) {
        Some((_, options, _)) => {
            Err(format!("cannot mix '{options}' options with mount type '{}'", mount.kind))
        }
        None => check_recursion(&mount).map(|()| mount),
    }
}

/// What Docker's client wants beside `bind-recursive`.
fn check_recursion(mount: &MountRequest) -> Result<(), String> {
    let options = mount.bind_options.clone().unwrap_or_default();
    let value = match (options.read_only_non_recursive, options.read_only_force_recursive) {
        (true, _) => "writable",
        (_, true) => "readonly",
        (false, false) => return Ok(()),
    };
    let lacks = |what| {
        Err(format!("option 'bind-recursive={value}' requires '{what}' to be specified in conjunction"))
    };
    match value {
        _ if !mount.read_only => lacks("readonly"),
        "readonly" if options.propagation != "rprivate" => lacks("bind-propagation=rprivate"),
        _ => Ok(()),
    }
}

fn apply(mount: &mut MountRequest, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
    let not_pair = || format!("invalid field '{field}' must be a key=value pair");
    if let "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src" = key {
        let flag = truth(key, value)?;
        match key {
            "volume-nocopy" => mount.volume_options.get_or_insert_default().no_copy = flag,
            "bind-create-src" => mount.bind_options.get_or_insert_default().create_mountpoint = flag,
            "bind-nonrecursive" => mount.bind_options.get_or_insert_default().non_recursive = flag,
            _ => mount.read_only = flag,
        }
        return Ok(());
    }
    let value = value.ok_or_else(not_pair)?.to_owned();
    let bind = |mount: &mut MountRequest, set: &dyn Fn(&mut BindOptions)| {
        set(mount.bind_options.get_or_insert_default());
    };
    match key {
        // What there is of types is the daemon's to know.
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => mount.source = value,
        "target" | "dst" | "destination" => mount.target = value,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount, &|options| options.propagation = value.to_lowercase()),
        "bind-recursive" => {
            let options = mount.bind_options.get_or_insert_default();
            match value.as_str() {
                "enabled" => {}
                "disabled" => options.non_recursive = true,
                "writable" => options.read_only_non_recursive = true,
                "readonly" => options.read_only_force_recursive = true,
                _ => {
                    return Err(format!(
                        "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \
                         \"writable\", or \"readonly\")"
                    ));
                }
            }
        }
        "volume-subpath" => volume_options(mount).subpath = value,
        "image-subpath" => mount.image_options = Some(ImageOptions { subpath: value }),
        "volume-label" => drop(insert(&mut volume_options(mount).labels, &value)),
        "volume-driver" => driver(mount).name = value,
        "volume-opt" => drop(insert(&mut driver(mount).options, &value)),
        "tmpfs-size" => {
            tmpfs_options(mount).size_bytes =
                size::parse(&value).map_err(|_| format!("invalid value for tmpfs-size: {value}"))?;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(&value, 8);
            tmpfs_options(mount).mode =
                Some(mode.map_err(|_| format!("invalid value for tmpfs-mode: {value}"))?);
        }
        "tmpfs-options" => {
            let words = value.split(',').map(|word| word.splitn(2, '=').map(str::to_owned).collect());
            tmpfs_options(mount).options.get_or_insert_default().extend(words);
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value.unwrap_or("true") {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        value => Err(format!("invalid value for {key}: {value}")),
    }
}

fn volume_options(mount: &mut MountRequest) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut MountRequest) -> &mut DriverConfig {
    volume_options(mount).driver_config.get_or_insert_default()
}

fn tmpfs_options(mount: &mut MountRequest) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn insert(map: &mut Option<api::docker::StringMap>, pair: &str) -> Option<String> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.get_or_insert_default().insert(key.to_owned(), value.to_owned())
}

/// Splits one line of CSV as Go's reader does: a field is quoted as a whole or not at all.
pub(super) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (field, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if field.contains('"') {
                    return Err("bare \" in non-quoted-field".into());
                }
                (field.to_owned(), rest)
            }
        };
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(fields),
            None => return Err("extraneous or missing \" in quoted-field".into()),
        }
    }
}

/// What is before the closing quote, and what is after it; two quotes are one.
fn unquote(mut rest: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    loop {
        let end = rest.find('"').ok_or("extraneous or missing \" in quoted-field")?;
        field += &rest[..end];
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Volume, fields, mount, tmpfs, volume};
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn volumes() {
        let bind = |text: &str| Ok(Volume::Bind(text.to_owned()));
        let cases = [
            ("/data", Ok(Volume::Anonymous("/data".into()))),
            ("name:/data", bind("name:/data")),
            ("/host:/data:ro,z", bind("/host:/data:ro,z")),
            (".:/data", bind("/work/dir:/data")),
            ("./a/../b:/data", bind("/work/dir/b:/data")),
            ("../x:/data:ro", bind("/work/x:/data:ro")),
            ("", Err("invalid empty volume spec".into())),
            ("a::b", Err("invalid spec: a::b: empty section between colons".into())),
            (":/b", Err("invalid spec: :/b: empty section between colons".into())),
            ("a:b:c:d", Err("invalid spec: a:b:c:d: too many colons".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(volume(text, Path::new("/work/dir")), expected, "{text}");
        }
        assert_eq!(tmpfs("/t:size=1m,exec"), ("/t".into(), "size=1m,exec".into()));
        assert_eq!(tmpfs("/t"), ("/t".into(), String::new()));
    }

    #[test]
    fn mounts() {
        let cases = [
            ("target=/d", json!({"Type": "volume", "Target": "/d"})),
            (
                "type=volume,src=v,dst=/d,ro",
                json!({"Type": "volume", "Source": "v", "Target": "/d", "ReadOnly": true}),
            ),
            (
                "type=bind,source=./x,destination=/d,readonly=false,bind-propagation=rslave",
                json!({"Type": "bind", "Source": "/dir/x", "Target": "/d", "BindOptions": {"Propagation": "rslave"}}),
            ),
            (
                "type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=1770",
                json!({"Type": "tmpfs", "Target": "/d", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 0o1770}}),
            ),
            (
                "target=/d,volume-nocopy,volume-label=a=b,volume-opt=o=p",
                json!({"Type": "volume", "Target": "/d", "VolumeOptions":
                    {"NoCopy": true, "Labels": {"a": "b"}, "DriverConfig": {"Options": {"o": "p"}}}}),
            ),
            (
                "type=image,src=tools,target=/d,image-subpath=bin",
                json!({"Type": "image", "Source": "tools", "Target": "/d", "ImageOptions": {"Subpath": "bin"}}),
            ),
            (
                "type=bind,src=/a,target=/d,ro,bind-propagation=rprivate,bind-recursive=readonly,bind-create-src",
                json!({"Type": "bind", "Source": "/a", "Target": "/d", "ReadOnly": true, "BindOptions":
                    {"Propagation": "rprivate", "ReadOnlyForceRecursive": true, "CreateMountpoint": true}}),
            ),
            (
                "type=tmpfs,target=/d,\"tmpfs-options=exec,uid=7\"",
                json!({"Type": "tmpfs", "Target": "/d", "TmpfsOptions": {"Options": [["exec"], ["uid", "7"]]}}),
            ),
            ("type=NPIPE,target=/d", json!({"Type": "npipe", "Target": "/d"})),
            ("\"src=a,b\",target=/d", json!({"Type": "volume", "Source": "a,b", "Target": "/d"})),
        ];
        for (text, expected) in cases {
            let mount = mount(text, Path::new("/dir")).unwrap();
            assert_eq!(serde_json::to_value(mount).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn bad_mounts_are_named_as_docker_names_them() {
        let cases = [
            ("type=bind", "target is required"),
            ("", "EOF"),
            ("type=bind,target=/d,image-subpath=x", "cannot mix 'image-*' options with mount type 'bind'"),
            (
                "type=bind,target=/d,bind-recursive=writable",
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
            ),
            (
                "type=bind,target=/d,ro,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
            ),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("target=/d,color=red", "unexpected key 'color' in 'color=red'"),
            ("target=/d,ro=maybe", "invalid value for ro: maybe"),
            ("type=tmpfs,target=/d,tmpfs-size=x", "invalid value for tmpfs-size: x"),
            ("type=tmpfs,target=/d,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
            ("type=bind,target=/d,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("type=volume,target=/d,tmpfs-mode=7", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
            ("target=/\"d", "bare \" in non-quoted-field"),
            ("\"target=/d", "extraneous or missing \" in quoted-field"),
            ("\"target=/d\"x", "extraneous or missing \" in quoted-field"),
        ];
        for (text, expected) in cases {
            assert_eq!(mount(text, Path::new("/")).unwrap_err(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_grammars(text in "\\PC*") {
            let _ = volume(&text, Path::new("/"));
            let _ = mount(&text, Path::new("/"));
        }

        #[test]
        fn quoted_fields_are_read_back(values in prop::collection::vec("\\PC*", 1..5)) {
            let quoted: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
            prop_assert_eq!(fields(&quoted.join(",")).unwrap(), values);
        }
    }
}
