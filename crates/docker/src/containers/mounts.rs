//! Mounts: three places where a client may ask for them (`Binds`, `Mounts`, `Tmpfs`, and `Volumes` for anonymous
//! volumes), one list in the engine's specification.

use std::collections::BTreeMap;

use api::docker::Present;
use api::docker::container::Config;
use api::docker::host_config::{BindOptions, HostConfig, MountRequest, TmpfsOptions, VolumeOptions};
use engine::containers::ContainerSpec;
use engine::containers::spec::{BindMount, MountSpec, Propagation, TmpfsMount, VolumeMount};

use crate::error::{Error, Result};
use crate::volumes;

/// All mounts of a create request, in the order: `Binds`, `Mounts`, `Tmpfs`, then `Volumes` that are not among them.
pub(crate) fn read(config: &Config, host: &HostConfig) -> Result<Vec<MountSpec>> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(read_bind(bind)?);
    }
    for request in host.mounts.iter().flatten() {
        mounts.push(read_request(request)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let options = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        mounts.push(MountSpec::Tmpfs(TmpfsMount { target: target.clone(), options }));
    }
    for target in config.volumes.iter().flat_map(BTreeMap::keys) {
        if !mounts.iter().any(|mount| mount.target() == target) {
            mounts.push(MountSpec::Volume(VolumeMount { target: target.clone(), ..VolumeMount::default() }));
        }
    }
    Ok(mounts)
}

/// `SOURCE:TARGET[:OPTIONS]`; a source without a slash at its beginning is a volume.
fn read_bind(text: &str) -> Result<MountSpec> {
    let wrong = |why: &str| Error::invalid(format!("invalid volume specification: '{text}'{why}"));
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else { return Err(wrong("")) };
    if source.is_empty() {
        return Err(wrong(""));
    }
    if !target.starts_with('/') {
        return Err(wrong(&format!(
            ": invalid mount config: invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let mut asked = BindWords::default();
    for option in parts.next().into_iter().flat_map(|options| options.split(',')) {
        asked.read(option).ok_or_else(|| wrong(&format!(": invalid mode: {option}")))?;
    }
    let target = target.to_owned();
    if source.starts_with('/') {
        if asked.no_copy {
            return Err(wrong(": `nocopy` is an option of volumes"));
        }
        return Ok(MountSpec::Bind(BindMount {
            source: source.to_owned(),
            target,
            readonly: asked.readonly,
            create_source: true,
            propagation: asked.propagation.unwrap_or_default(),
            non_recursive: false,
        }));
    }
    if asked.propagation.is_some() {
        return Err(wrong(": propagation is an option of binds"));
    }
    Ok(MountSpec::Volume(VolumeMount {
        name: source.to_owned(),
        target,
        readonly: asked.readonly,
        no_copy: asked.no_copy,
        ..VolumeMount::default()
    }))
}

/// What the words after the second colon say.
#[derive(Default)]
struct BindWords {
    readonly: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
}

impl BindWords {
    fn read(&mut self, word: &str) -> Option<()> {
        match word {
            "ro" => self.readonly = true,
            "nocopy" => self.no_copy = true,
            // Docker has them for SELinux, which is not there, and for its virtual machine on other systems.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            word => self.propagation = Some(propagation(word)?),
        }
        Some(())
    }
}

fn read_request(request: &MountRequest) -> Result<MountSpec> {
    let wrong =
        |why: &str| Error::invalid(format!("invalid mount config for type {:?}: {why}", request.kind));
    if request.target.is_empty() {
        return Err(wrong("field Target must not be empty"));
    }
    if !request.target.starts_with('/') {
        return Err(wrong(&format!("invalid mount path: '{}' mount path must be absolute", request.target)));
    }
    if !matches!(request.consistency.as_str(), "" | "default" | "consistent" | "cached" | "delegated") {
        return Err(wrong(&format!("unknown consistency {:?}", request.consistency)));
    }
    let (bind, volume, tmpfs) = (&request.bind_options, &request.volume_options, &request.tmpfs_options);
    let odd = [("bind", bind.is_some()), ("volume", volume.is_some()), ("tmpfs", tmpfs.is_some())];
    if let Some((kind, _)) = odd.iter().find(|(kind, is_set)| *is_set && *kind != request.kind) {
        return Err(wrong(&format!("it has options of type {kind:?}")));
    }
    match request.kind.as_str() {
        "bind" => read_bind_request(request, bind.clone().unwrap_or_default()),
        "volume" => read_volume_request(request, volume.clone().unwrap_or_default()),
        "tmpfs" if !request.source.is_empty() => Err(wrong("field Source must not be specified")),
        "tmpfs" => read_tmpfs_request(request, tmpfs.clone().unwrap_or_default()),
        kind @ ("image" | "cluster" | "npipe") => {
            Err(Error::not_there_yet(format!("mounts of type `{kind}`")))
        }
        _ => Err(wrong("mount type unknown")),
    }
}

fn read_bind_request(request: &MountRequest, options: BindOptions) -> Result<MountSpec> {
    if !request.source.starts_with('/') {
        return Err(Error::invalid(format!(
            "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
            request.source
        )));
    }
    if options.read_only_non_recursive || options.read_only_force_recursive {
        return Err(Error::not_there_yet("`bind-recursive` with `readonly` and `writable`"));
    }
    let propagation = match options.propagation.as_str() {
        "" => Propagation::default(),
        word => propagation(word).ok_or_else(|| {
            Error::invalid(format!(
                "invalid mount config for type \"bind\": invalid propagation mode: {word:?}"
            ))
        })?,
    };
    Ok(MountSpec::Bind(BindMount {
        source: request.source.clone(),
        target: request.target.clone(),
        readonly: request.read_only,
        create_source: options.create_mountpoint,
        propagation,
        non_recursive: options.non_recursive,
    }))
}

fn read_volume_request(request: &MountRequest, options: VolumeOptions) -> Result<MountSpec> {
    if !options.subpath.is_empty() {
        return Err(Error::not_there_yet("`volume-subpath`"));
    }
    let driver = options.driver_config.unwrap_or_default();
    let has_options = driver.options.is_some_and(|options| !options.is_empty());
    if has_options || !matches!(driver.name.as_str(), "" | volumes::DRIVER) {
        return Err(Error::not_there_yet("`volume-driver` and `volume-opt`"));
    }
    Ok(MountSpec::Volume(VolumeMount {
        name: request.source.clone(),
        target: request.target.clone(),
        readonly: request.read_only,
        no_copy: options.no_copy,
        labels: options.labels.unwrap_or_default(),
        ..VolumeMount::default()
    }))
}

fn read_tmpfs_request(request: &MountRequest, asked: TmpfsOptions) -> Result<MountSpec> {
    let mut options = Vec::new();
    if request.read_only {
        options.push("ro".to_owned());
    }
    match asked.size_bytes {
        0 => {}
        1.. => options.push(format!("size={}", asked.size_bytes)),
        _ => {
            return Err(Error::invalid(
                "invalid mount config for type \"tmpfs\": the size cannot be negative",
            ));
        }
    }
    if let Some(mode) = asked.mode.filter(|mode| *mode != 0) {
        options.push(format!("mode={mode:o}"));
    }
    options.extend(asked.options.into_iter().flatten().map(|option| option.join("=")));
    Ok(MountSpec::Tmpfs(TmpfsMount { target: request.target.clone(), options }))
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

/// The targets of anonymous volumes, for `Config.Volumes`.
pub(crate) fn anonymous(spec: &ContainerSpec) -> Option<BTreeMap<String, Present>> {
    let targets = spec.mounts.iter().filter_map(|mount| match mount {
        MountSpec::Volume(volume) if volume.anonymous => Some((volume.target.clone(), Present)),
        _ => None,
    });
    Some(targets.collect()).filter(|targets: &BTreeMap<_, _>| !targets.is_empty())
}

/// Fills in `Binds`, `Mounts` and `Tmpfs`, each mount where it would have been asked for.
pub(crate) fn describe(spec: &ContainerSpec, host: &mut HostConfig) {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    let mut tmpfs = BTreeMap::new();
    for mount in &spec.mounts {
        match mount {
            MountSpec::Bind(bind) if bind.create_source && !bind.non_recursive => {
                let mut words = vec![if bind.readonly { "ro" } else { "rw" }];
                if bind.propagation != Propagation::default() {
                    words.push(propagation_word(bind.propagation));
                }
                binds.push(bind_text(&bind.source, &bind.target, &words));
            }
            MountSpec::Bind(bind) => mounts.push(describe_bind(bind)),
            MountSpec::Volume(volume) if volume.anonymous || volume.name.is_empty() => {}
            MountSpec::Volume(volume) => {
                let mut words = vec![if volume.readonly { "ro" } else { "rw" }];
                if volume.no_copy {
                    words.push("nocopy");
                }
                binds.push(bind_text(&volume.name, &volume.target, &words));
            }
            MountSpec::Tmpfs(mount) => {
                tmpfs.insert(mount.target.clone(), mount.options.join(","));
            }
        }
    }
    host.binds = Some(binds).filter(|binds| !binds.is_empty());
    host.mounts = Some(mounts).filter(|mounts| !mounts.is_empty());
    host.tmpfs = Some(tmpfs).filter(|tmpfs| !tmpfs.is_empty());
}

/// `rw` alone goes without saying.
fn bind_text(source: &str, target: &str, words: &[&str]) -> String {
    let options = if words == ["rw"] { String::new() } else { format!(":{}", words.join(",")) };
    format!("{source}:{target}{options}")
}

fn describe_bind(bind: &BindMount) -> MountRequest {
    let options = BindOptions {
        propagation: match bind.propagation {
            Propagation::Rprivate => String::new(),
            other => propagation_word(other).into(),
        },
        non_recursive: bind.non_recursive,
        create_mountpoint: bind.create_source,
        ..BindOptions::default()
    };
    MountRequest {
        kind: "bind".into(),
        source: bind.source.clone(),
        target: bind.target.clone(),
        read_only: bind.readonly,
        bind_options: Some(options).filter(|options| *options != BindOptions::default()),
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
    fn what_was_asked_is_shown_and_read_again_the_same() {
        let asked = json!({
            "Binds": ["/a:/b", "/a:/c:ro,rshared,z", "v:/d", "v:/e:nocopy,ro"],
            "Mounts": [
                {"Type": "bind", "Source": "/x", "Target": "/y", "ReadOnly": true, "BindOptions": {"NonRecursive": true}},
                {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 64, "Mode": 448, "Options": [["exec"]]}},
            ],
            "Tmpfs": {"/u": "size=1m,exec"},
        });
        let first = mounts(asked).unwrap();
        assert_eq!(first.len(), 7);
        let mut shown = HostConfig::default();
        describe(&ContainerSpec { mounts: first.clone(), ..ContainerSpec::default() }, &mut shown);
        let mut second = read(&Config::default(), &shown).unwrap();
        let mut first = first;
        first.sort_by(|one, other| one.target().cmp(other.target()));
        second.sort_by(|one, other| one.target().cmp(other.target()));
        assert_eq!(first, second);
        assert_eq!(shown.tmpfs.unwrap()["/t"], "size=64,mode=700,exec");
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
    fn wrong_mounts_are_refused() {
        for (host, want) in [
            (json!({"Binds": ["/a"]}), "invalid volume specification: '/a'"),
            (json!({"Binds": [":/a"]}), "invalid volume specification: ':/a'"),
            (
                json!({"Binds": ["/a:b"]}),
                "invalid volume specification: '/a:b': invalid mount config: invalid mount path: 'b'",
            ),
            (json!({"Binds": ["/a:/b:wo"]}), "invalid volume specification: '/a:/b:wo': invalid mode: wo"),
            (json!({"Binds": ["v:/b:shared"]}), "invalid volume specification: 'v:/b:shared': propagation"),
            (json!({"Binds": ["/a:/b:nocopy"]}), "invalid volume specification: '/a:/b:nocopy': `nocopy`"),
            (
                json!({"Mounts": [{"Type": "bind", "Target": "/b"}]}),
                "invalid mount config for type \"bind\": invalid mount path",
            ),
            (
                json!({"Mounts": [{"Type": "tmpfs", "Source": "x", "Target": "/b"}]}),
                "invalid mount config for type \"tmpfs\": field Source",
            ),
            (
                json!({"Mounts": [{"Type": "bind", "Source": "/a"}]}),
                "invalid mount config for type \"bind\": field Target",
            ),
            (
                json!({"Mounts": [{"Type": "odd", "Target": "/b"}]}),
                "invalid mount config for type \"odd\": mount type unknown",
            ),
            (
                json!({"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "TmpfsOptions": {}}]}),
                "invalid mount config for type \"bind\": it has options of type \"tmpfs\"",
            ),
            (
                json!({"Mounts": [{"Type": "volume", "Target": "/b", "VolumeOptions": {"Subpath": "x"}}]}),
                "`volume-subpath` is not there yet",
            ),
        ] {
            let error = mounts(host.clone()).expect_err(&host.to_string());
            assert!(error.starts_with(want), "{host}: {error}");
        }
    }
}
