//! Mounts: three places where a client may ask for them (`Binds`, `Mounts`, `Tmpfs`, and `Volumes` for anonymous
//! volumes), one list in the engine's specification. What is wrong is said in Docker's words.

use std::collections::BTreeMap;

use api::docker::Present;
use api::docker::container::Config;
use api::docker::host_config::{
    BindOptions, DriverConfig, HostConfig, ImageOptions, MountRequest, TmpfsOptions, VolumeOptions,
};
use engine::containers::ContainerSpec;
use engine::containers::spec::{
    BelowReadOnly, BindMount, Form, ImageMount, MountSpec, Propagation, TmpfsMount, VolumeMount, VolumesFrom,
};

use crate::error::{Error, Result};
use crate::volumes;

/// All mounts of a create request, in the order: `Binds`, `Mounts`, `Tmpfs`, then `Volumes` that are not among them.
pub(crate) fn read(config: &Config, host: &HostConfig) -> Result<Vec<MountSpec>> {
    volumes::check_driver(&host.volume_driver)?;
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(read_bind(bind)?);
    }
    for request in host.mounts.iter().flatten() {
        mounts.push(read_request(request)?);
    }
    for (target, mode) in host.tmpfs.iter().flatten() {
        let options = mode.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        let form = Form::Short(mode.clone());
        mounts.push(MountSpec::Tmpfs(TmpfsMount { target: target.clone(), options, form }));
    }
    for target in config.volumes.iter().flat_map(BTreeMap::keys) {
        if !mounts.iter().any(|mount| mount.target() == target) {
            mounts.push(MountSpec::Volume(anonymous_volume(target)));
        }
    }
    Ok(mounts)
}

/// `CONTAINER[:MODE]`, from which mounts are lent.
pub(crate) fn read_lenders(host: &HostConfig) -> Result<Vec<VolumesFrom>> {
    let read = |text: &String| {
        if text.is_empty() {
            return Err(Error::invalid("volumes-from specification cannot be an empty string"));
        }
        let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
        // `z` and `Z` are for SELinux, which confines nothing here.
        if let Some(wrong) = mode.split(',').find(|word| !["ro", "rw", "z", "Z"].contains(word)) {
            return Err(Error::invalid(format!("invalid mode: {wrong}")));
        }
        let readonly = mode.split(',').any(|word| word == "ro");
        Ok(VolumesFrom { container: container.to_owned(), readonly, targets: Vec::new() })
    };
    host.volumes_from.iter().flatten().map(read).collect()
}

fn describe_lender(lender: &VolumesFrom) -> String {
    format!("{}{}", lender.container, if lender.readonly { ":ro" } else { "" })
}

fn anonymous_volume(target: &str) -> VolumeMount {
    VolumeMount { target: target.to_owned(), form: Form::Short(String::new()), ..VolumeMount::default() }
}

/// `[SOURCE:]TARGET[:MODE]`; a source without a slash at its beginning is a volume.
fn read_bind(text: &str) -> Result<MountSpec> {
    let invalid = || format!("invalid volume specification: '{text}'");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [""] | ["", ..] => return Err(Error::invalid(invalid())),
        [target] => ("", target, ""),
        // A path with a mode, and be it an empty one, would be a volume with one.
        [_, mode] if Mode::read(mode).is_some() => return Err(Error::invalid(invalid())),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(Error::invalid(invalid())),
    };
    let asked = Mode::read(mode).ok_or_else(|| Error::invalid(format!("invalid mode: {mode}")))?;
    let is_bind = source.starts_with('/');
    let wrong = |why: &str| {
        let kind = if is_bind { "bind" } else { "volume" };
        Error::invalid(format!("{}: invalid mount config for type \"{kind}\": {why}", invalid()))
    };
    check_target(target).map_err(|why| wrong(&why))?;
    let (target, form) = (target.to_owned(), Form::Short(mode.to_owned()));
    if is_bind {
        if asked.no_copy {
            return Err(wrong("field VolumeOptions must not be specified"));
        }
        return Ok(MountSpec::Bind(BindMount {
            source: source.to_owned(),
            target,
            readonly: asked.readonly,
            create_source: true,
            propagation: asked.propagation,
            form,
            ..BindMount::default()
        }));
    }
    if asked.propagation.is_some() {
        return Err(wrong("field BindOptions must not be specified"));
    }
    Ok(MountSpec::Volume(VolumeMount {
        name: source.to_owned(),
        target,
        readonly: asked.readonly,
        no_copy: asked.no_copy,
        form,
        ..VolumeMount::default()
    }))
}

/// What the words after the second colon say.
#[derive(Default)]
struct Mode {
    readonly: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
}

impl Mode {
    /// None: a word that there is not, or two of a kind.
    fn read(words: &str) -> Option<Mode> {
        let mut mode = Mode::default();
        let mut kinds = Vec::new();
        for word in words.split(',').filter(|_| !words.is_empty()) {
            let kind = match word {
                "ro" | "rw" => "access",
                // SELinux labels nothing here.
                "z" | "Z" => "label",
                "nocopy" => "copy",
                // Docker has them for its virtual machine on other systems.
                "consistent" | "cached" | "delegated" | "default" => "consistency",
                _ => "propagation",
            };
            match kind {
                "access" => mode.readonly = word == "ro",
                "copy" => mode.no_copy = true,
                "propagation" => mode.propagation = Some(propagation(word)?),
                _ => {}
            }
            if kinds.contains(&kind) {
                return None;
            }
            kinds.push(kind);
        }
        Some(mode)
    }
}

fn check_target(target: &str) -> Result<(), String> {
    if target.is_empty() {
        return Err("field Target must not be empty".into());
    }
    if !target.starts_with('/') {
        return Err(format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    if target.split('/').all(|name| matches!(name, "" | ".")) {
        return Err("invalid specification: destination can't be '/'".into());
    }
    Ok(())
}

fn read_request(request: &MountRequest) -> Result<MountSpec> {
    let wrong =
        |why: &str| Error::invalid(format!("invalid mount config for type {:?}: {why}", request.kind));
    check_target(&request.target).map_err(|why| wrong(&why))?;
    let kind = request.kind.as_str();
    for (of, field, is_set) in [
        ("bind", "BindOptions", request.bind_options.is_some()),
        ("volume", "VolumeOptions", request.volume_options.is_some()),
        ("image", "ImageOptions", request.image_options.is_some()),
        ("tmpfs", "TmpfsOptions", request.tmpfs_options.is_some()),
        ("tmpfs", "Source", kind == "tmpfs" && !request.source.is_empty()),
    ] {
        if is_set && (kind != of || field == "Source") {
            return Err(wrong(&format!("field {field} must not be specified")));
        }
    }
    if request.source.is_empty() && matches!(kind, "bind" | "image") {
        return Err(wrong("field Source must not be empty"));
    }
    match kind {
        "bind" => read_bind_request(request, request.bind_options.clone().unwrap_or_default(), wrong),
        "volume" => read_volume_request(request, request.volume_options.clone().unwrap_or_default()),
        "tmpfs" => read_tmpfs_request(request, request.tmpfs_options.clone().unwrap_or_default(), wrong),
        "image" => Ok(MountSpec::Image(ImageMount {
            image: request.source.clone(),
            target: request.target.clone(),
            subpath: request.image_options.clone().unwrap_or_default().subpath,
            ..ImageMount::default()
        })),
        "cluster" => Err(Error::not_there_yet("mounts of type `cluster`")),
        // Of Windows.
        _ => Err(wrong("mount type unknown")),
    }
}

fn read_bind_request(
    request: &MountRequest,
    options: BindOptions,
    wrong: impl Fn(&str) -> Error,
) -> Result<MountSpec> {
    if !request.source.starts_with('/') {
        return Err(wrong(&format!("invalid mount path: '{}' mount path must be absolute", request.source)));
    }
    let propagation = match options.propagation.as_str() {
        "" => None,
        word => Some(propagation(word).ok_or_else(|| wrong(&format!("invalid propagation mode: {word}")))?),
    };
    let below = match (options.read_only_non_recursive, options.read_only_force_recursive) {
        (false, false) => BelowReadOnly::Follows,
        (true, true) => {
            return Err(wrong(
                "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
            ));
        }
        (true, false) if !request.read_only => {
            return Err(wrong("mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive"));
        }
        (false, true) if !request.read_only => {
            return Err(wrong("mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive"));
        }
        (true, false) => BelowReadOnly::StaysWritable,
        (false, true) => BelowReadOnly::MustFollow,
    };
    Ok(MountSpec::Bind(BindMount {
        source: request.source.clone(),
        target: request.target.clone(),
        readonly: request.read_only,
        below,
        create_source: options.create_mountpoint,
        propagation,
        non_recursive: options.non_recursive,
        form: Form::Long,
    }))
}

fn read_volume_request(request: &MountRequest, options: VolumeOptions) -> Result<MountSpec> {
    let driver = options.driver_config.unwrap_or_default();
    volumes::check_driver(&driver.name)?;
    Ok(MountSpec::Volume(VolumeMount {
        name: request.source.clone(),
        target: request.target.clone(),
        readonly: request.read_only,
        no_copy: options.no_copy,
        subpath: options.subpath,
        labels: options.labels.unwrap_or_default(),
        options: driver.options.unwrap_or_default(),
        ..VolumeMount::default()
    }))
}

fn read_tmpfs_request(
    request: &MountRequest,
    asked: TmpfsOptions,
    wrong: impl Fn(&str) -> Error,
) -> Result<MountSpec> {
    let mut options = Vec::new();
    if request.read_only {
        options.push("ro".to_owned());
    }
    match asked.size_bytes {
        0 => {}
        1.. => options.push(format!("size={}", asked.size_bytes)),
        _ => return Err(wrong("the size cannot be negative")),
    }
    if let Some(mode) = asked.mode.filter(|mode| *mode != 0) {
        options.push(format!("mode={mode:o}"));
    }
    options.extend(asked.options.into_iter().flatten().map(|option| option.join("=")));
    Ok(MountSpec::Tmpfs(TmpfsMount { target: request.target.clone(), options, form: Form::Long }))
}

const PROPAGATIONS: [(&str, Propagation); 6] = [
    ("rprivate", Propagation::Rprivate),
    ("private", Propagation::Private),
    ("rshared", Propagation::Rshared),
    ("shared", Propagation::Shared),
    ("rslave", Propagation::Rslave),
    ("slave", Propagation::Slave),
];

fn propagation(word: &str) -> Option<Propagation> {
    PROPAGATIONS.iter().find(|(name, _)| *name == word).map(|(_, propagation)| *propagation)
}

fn propagation_word(propagation: Propagation) -> &'static str {
    PROPAGATIONS.iter().find(|(_, known)| *known == propagation).map_or("", |(name, _)| name)
}

/// The targets of anonymous volumes that were asked for by a path alone, for `Config.Volumes`.
pub(crate) fn anonymous(spec: &ContainerSpec) -> Option<BTreeMap<String, Present>> {
    let targets = spec.mounts.iter().filter_map(|mount| match mount {
        MountSpec::Volume(VolumeMount { anonymous: true, form: Form::Short(_), target, .. }) => {
            Some((target.clone(), Present))
        }
        _ => None,
    });
    Some(targets.collect()).filter(|targets: &BTreeMap<_, _>| !targets.is_empty())
}

/// Fills in `Binds`, `Mounts` and `Tmpfs`, each mount where it was asked for.
pub(crate) fn describe(spec: &ContainerSpec, host: &mut HostConfig) {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    let mut tmpfs = BTreeMap::new();
    host.volumes_from = Some(spec.volumes_from.iter().map(describe_lender).collect())
        .filter(|lenders: &Vec<String>| !lenders.is_empty());
    for mount in spec.mounts.iter().filter(|mount| !spec.is_lent(mount)) {
        match mount {
            MountSpec::Bind(BindMount { source, target, form: Form::Short(mode), .. }) => {
                binds.push(bind_text(source, target, mode));
            }
            MountSpec::Bind(bind) => mounts.push(describe_bind(bind)),
            MountSpec::Volume(VolumeMount { name, target, anonymous, form: Form::Short(mode), .. }) => {
                if !anonymous && !name.is_empty() {
                    binds.push(bind_text(name, target, mode));
                }
            }
            MountSpec::Volume(volume) => mounts.push(describe_volume(volume)),
            MountSpec::Tmpfs(TmpfsMount { target, form: Form::Short(mode), .. }) => {
                tmpfs.insert(target.clone(), mode.clone());
            }
            MountSpec::Tmpfs(mount) => mounts.push(describe_tmpfs(mount)),
            MountSpec::Image(image) => mounts.push(describe_image(image)),
        }
    }
    host.binds = Some(binds).filter(|binds| !binds.is_empty());
    host.mounts = Some(mounts).filter(|mounts| !mounts.is_empty());
    host.tmpfs = Some(tmpfs).filter(|tmpfs| !tmpfs.is_empty());
}

fn bind_text(source: &str, target: &str, mode: &str) -> String {
    let colon = if mode.is_empty() { "" } else { ":" };
    format!("{source}:{target}{colon}{mode}")
}

fn described<T: Default + PartialEq>(options: T) -> Option<T> {
    Some(options).filter(|options| *options != T::default())
}

fn describe_bind(bind: &BindMount) -> MountRequest {
    let options = BindOptions {
        propagation: bind.propagation.map_or("", propagation_word).into(),
        non_recursive: bind.non_recursive,
        create_mountpoint: bind.create_source,
        read_only_non_recursive: bind.below == BelowReadOnly::StaysWritable,
        read_only_force_recursive: bind.below == BelowReadOnly::MustFollow,
    };
    MountRequest {
        kind: "bind".into(),
        source: bind.source.clone(),
        target: bind.target.clone(),
        read_only: bind.readonly,
        bind_options: described(options),
        ..MountRequest::default()
    }
}

fn describe_volume(volume: &VolumeMount) -> MountRequest {
    let map = |map: &BTreeMap<String, String>| Some(map.clone()).filter(|map| !map.is_empty());
    let driver = DriverConfig { name: String::new(), options: map(&volume.options) };
    let options = VolumeOptions {
        no_copy: volume.no_copy,
        labels: map(&volume.labels),
        subpath: volume.subpath.clone(),
        driver_config: described(driver),
    };
    MountRequest {
        kind: "volume".into(),
        source: if volume.anonymous { String::new() } else { volume.name.clone() },
        target: volume.target.clone(),
        read_only: volume.readonly,
        volume_options: described(options),
        ..MountRequest::default()
    }
}

fn describe_tmpfs(tmpfs: &TmpfsMount) -> MountRequest {
    let mut options = TmpfsOptions::default();
    let mut read_only = false;
    for option in &tmpfs.options {
        match option.split_once('=') {
            None if option == "ro" => read_only = true,
            Some(("size", size)) if size.parse::<i64>().is_ok() => {
                options.size_bytes = size.parse().unwrap_or_default();
            }
            Some(("mode", mode)) if u32::from_str_radix(mode, 8).is_ok() => {
                options.mode = u32::from_str_radix(mode, 8).ok();
            }
            Some((key, value)) => {
                options.options.get_or_insert_default().push(vec![key.to_owned(), value.to_owned()]);
            }
            None => options.options.get_or_insert_default().push(vec![option.clone()]),
        }
    }
    MountRequest {
        kind: "tmpfs".into(),
        target: tmpfs.target.clone(),
        read_only,
        tmpfs_options: described(options),
        ..MountRequest::default()
    }
}

fn describe_image(image: &ImageMount) -> MountRequest {
    MountRequest {
        kind: "image".into(),
        source: image.image.clone(),
        target: image.target.clone(),
        image_options: described(ImageOptions { subpath: image.subpath.clone() }),
        ..MountRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use api::docker::container::Config;
    use api::docker::host_config::HostConfig;
    use engine::containers::ContainerSpec;
    use serde_json::{Value, json};

    use super::{describe, read};

    fn mounts(host: Value) -> Result<Vec<engine::containers::spec::MountSpec>, String> {
        let host: HostConfig = serde_json::from_value(host).unwrap();
        read(&Config::default(), &host).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_asked_is_shown_in_the_same_words() {
        let asked = json!({
            "Binds": ["/a:/b", "/a:/c:ro,rshared,z", "v:/d", "v:/e:nocopy,ro", "/a:/g:rw"],
            "Mounts": [
                {"Type": "bind", "Source": "/x", "Target": "/y", "ReadOnly": true, "BindOptions": {"NonRecursive": true}},
                {"Type": "bind", "Source": "/x", "Target": "/z", "ReadOnly": true,
                 "BindOptions": {"Propagation": "rprivate", "ReadOnlyForceRecursive": true}},
                {"Type": "bind", "Source": "/x", "Target": "/w", "ReadOnly": true,
                 "BindOptions": {"ReadOnlyNonRecursive": true, "CreateMountpoint": true}},
                {"Type": "volume", "Target": "/f"},
                {"Type": "volume", "Source": "v", "Target": "/h", "VolumeOptions": {"NoCopy": true, "Subpath": "a/b",
                 "Labels": {"x": "y"}, "DriverConfig": {"Options": {"type": "tmpfs", "device": "tmpfs"}}}},
                {"Type": "tmpfs", "Target": "/t", "ReadOnly": true,
                 "TmpfsOptions": {"SizeBytes": 64, "Mode": 448, "Options": [["exec"], ["uid", "7"]]}},
                {"Type": "image", "Source": "busybox", "Target": "/i", "ImageOptions": {"Subpath": "bin"}},
            ],
            "Tmpfs": {"/u": "size=1m,exec", "/v": ""},
        });
        let mut shown = HostConfig::default();
        let spec = ContainerSpec { mounts: mounts(asked.clone()).unwrap(), ..ContainerSpec::default() };
        assert_eq!(spec.mounts.len(), 14);
        describe(&spec, &mut shown);
        let shown = serde_json::to_value(shown).unwrap();
        for field in ["Binds", "Mounts", "Tmpfs"] {
            assert_eq!(shown[field], asked[field], "{field}");
        }
    }

    #[test]
    fn anonymous_volumes_do_not_repeat_a_mount() {
        let config: Config = serde_json::from_value(json!({"Volumes": {"/b": {}, "/new": {}}})).unwrap();
        let host: HostConfig = serde_json::from_value(json!({"Binds": ["/a:/b"]})).unwrap();
        let targets: Vec<_> =
            read(&config, &host).unwrap().iter().map(|mount| mount.target().to_owned()).collect();
        assert_eq!(targets, ["/b", "/new"]);
    }

    #[test]
    fn wrong_binds_are_refused_in_dockers_words() {
        for (bind, want) in [
            (":/a", "invalid volume specification: ':/a'"),
            ("", "invalid volume specification: ''"),
            ("/a:ro", "invalid volume specification: '/a:ro'"),
            ("/x:/y:z:q", "invalid volume specification: '/x:/y:z:q'"),
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            ("/a:/b:wo", "invalid mode: wo"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:z,Z", "invalid mode: z,Z"),
            ("/a:/b:ro,", "invalid mode: ro,"),
            ("c:/x:/y", "invalid mode: /y"),
            (
                "v:/b:shared",
                "invalid volume specification: 'v:/b:shared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                "/a:/b:nocopy",
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
        ] {
            assert_eq!(mounts(json!({"Binds": [bind]})).expect_err(bind), want);
        }
    }

    #[test]
    fn wrong_mounts_are_refused_in_dockers_words() {
        for (mount, want) in [
            (json!({"Type": "bind", "Target": "/b"}), "type \"bind\": field Source must not be empty"),
            (json!({"Type": "image", "Target": "/b"}), "type \"image\": field Source must not be empty"),
            (
                json!({"Type": "tmpfs", "Source": "x", "Target": "/b"}),
                "type \"tmpfs\": field Source must not be specified",
            ),
            (json!({"Type": "bind", "Source": "/a"}), "type \"bind\": field Target must not be empty"),
            (json!({"Type": "odd", "Target": "/b"}), "type \"odd\": mount type unknown"),
            (json!({"Type": "npipe", "Target": "/b"}), "type \"npipe\": mount type unknown"),
            (
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "TmpfsOptions": {}}),
                "type \"bind\": field TmpfsOptions must not be specified",
            ),
            (
                json!({"Type": "bind", "Source": "a", "Target": "/b"}),
                "type \"bind\": invalid mount path: 'a' mount path must be absolute",
            ),
            (
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "foo"}}),
                "type \"bind\": invalid propagation mode: foo",
            ),
            (
                json!({"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"ReadOnlyNonRecursive": true}}),
                "type \"bind\": mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
            ),
        ] {
            let error = mounts(json!({"Mounts": [mount]})).expect_err(&mount.to_string());
            assert_eq!(error, format!("invalid mount config for {want}"));
        }
        for (host, want) in [
            (
                json!({"Mounts": [{"Type": "cluster", "Target": "/b"}]}),
                "mounts of type `cluster` is not there yet",
            ),
            (
                json!({"Mounts": [{"Type": "volume", "Target": "/b", "VolumeOptions": {"DriverConfig": {"Name": "x"}}}]}),
                "error looking up volume plugin x: plugin \"x\" not found",
            ),
            (json!({"VolumeDriver": "x"}), "error looking up volume plugin x: plugin \"x\" not found"),
        ] {
            assert_eq!(mounts(host.clone()).expect_err(&host.to_string()), want);
        }
    }
}
