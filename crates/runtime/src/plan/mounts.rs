//! The tree of a container: every entry of `mounts`, in order.

use std::ffi::CString;
use std::path::PathBuf;

use linux::child::{Mount, Source, Step};
use linux::mount::{self, Attributes, Parameter};
use linux::user_namespace::Maps;
use oci::runtime_spec::{Spec, SpecMount};

use super::devices::{self, Devices};
use super::namespaces;
use super::options::{self, IdMap, Options};
use super::{CgroupView, Host, Open, Owners, Plan, StdioPlan, invalid, path, text};
use crate::error::Result;

impl Plan {
    /// Plans the mounts, and the device nodes where they have to be made between them.
    pub(super) fn tree(&mut self, spec: &Spec, stdio: StdioPlan, host: &Host) -> Result<Devices> {
        let devices = devices::place(&spec.mounts)?;
        let mut has_devpts = false;
        for entry in &spec.mounts {
            let options = options::parse(&entry.options)?;
            let target = normal(&entry.destination);
            if target == "/" {
                return Err(invalid("nothing can be mounted on `/`"));
            }
            let is_bind = options.is_bind || entry.kind == "bind";
            match entry.kind.as_str() {
                _ if is_bind => self.bind(entry, &target, options)?,
                "cgroup" => self.cgroups(&target, &options, host)?,
                "devpts" if target == "/dev/pts" && stdio == StdioPlan::Terminal => {
                    has_devpts = true;
                    self.terminal(entry, &target, options)?;
                }
                _ => self.new_instance(entry, &target, options)?,
            }
            if target == "/dev" && devices.is_mount {
                self.devices(spec, &devices)?;
            }
        }
        if !devices.is_mount && !devices.is_foreign {
            self.devices(spec, &devices)?;
        }
        if stdio == StdioPlan::Terminal && !has_devpts {
            return Err(invalid("a terminal needs a devpts mount on `/dev/pts`"));
        }
        Ok(devices)
    }

    fn bind(&mut self, entry: &SpecMount, target: &str, options: Options) -> Result<()> {
        if let Some(unknown) = options.parameters.first() {
            let key = unknown.key.to_string_lossy();
            return Err(invalid(format!("unknown option `{key}` of the bind mount on `{target}`")));
        }
        if !entry.source.starts_with('/') {
            return Err(invalid(format!(
                "source `{}` of the mount on `{target}` is not absolute",
                entry.source
            )));
        }
        let owners = self.owners(entry, target, &options)?;
        let mut recursive = options.recursive;
        // The copy is a peer of the host's mount until it is told otherwise.
        if recursive.propagation == 0 {
            recursive.propagation = mount::PRIVATE;
        }
        let slot = self.open(Open::Bind {
            source: PathBuf::from(&entry.source),
            is_recursive: options.is_recursive_bind,
            recursive,
            top: options.top,
            owners,
        });
        self.steps.push(Step::Mount(Mount {
            target: path(target)?,
            source: Source::Detached { mount: slot, name: text(entry.source.as_str())? },
            attributes: Attributes::default(),
            refuses_links: false,
            is_devices: false,
        }));
        Ok(())
    }

    /// Runtime specification, "Mounts": mappings of the mount's own, or with the option alone those of the container.
    fn owners(&self, entry: &SpecMount, target: &str, options: &Options) -> Result<Option<Owners>> {
        let own = namespaces::maps(&entry.uid_mappings, &entry.gid_mappings)?;
        if own.is_none() && options.id_map.is_none() {
            return Ok(None);
        }
        let maps = own.or_else(|| self.maps.clone()).ok_or_else(|| {
            invalid(format!("the mount on `{target}` has no user mappings, and the container has none"))
        })?;
        Ok(Some(Owners { maps, is_recursive: options.id_map == Some(IdMap::Recursive) }))
    }

    fn new_instance(&mut self, entry: &SpecMount, target: &str, options: Options) -> Result<()> {
        if entry.kind.is_empty() {
            return Err(invalid(format!("the mount on `{target}` has no type")));
        }
        if options.id_map.is_some() || !entry.uid_mappings.is_empty() || !entry.gid_mappings.is_empty() {
            return Err(invalid(format!(
                "the mount on `{target}` is no bind mount and has no user mappings"
            )));
        }
        let is_devices = target == "/dev" && entry.kind == "tmpfs";
        let mut attributes = options.attributes();
        if is_devices {
            // There is more to be made in it; a later step makes it read-only.
            attributes &= !mount::READ_ONLY;
        }
        let source = if entry.source.is_empty() { &entry.kind } else { &entry.source };
        let mut parameters = vec![Parameter { key: text("source")?, value: Some(text(source.as_str())?) }];
        parameters.extend(options.parameters);
        self.steps.push(Step::Mount(Mount {
            target: path(target)?,
            source: Source::New { kind: text(entry.kind.as_str())?, parameters, attributes },
            attributes: Attributes { propagation: options.recursive.propagation, ..Attributes::default() },
            // An image that makes its /proc a link would choose what the container's writes to /proc reach.
            refuses_links: matches!(entry.kind.as_str(), "proc" | "sysfs"),
            is_devices,
        }));
        Ok(())
    }

    /// The parent makes the instance, so that it can take the terminal's master from it: see [`crate::Stdio`].
    fn terminal(&mut self, entry: &SpecMount, target: &str, options: Options) -> Result<()> {
        let attributes = options.attributes();
        let parameters =
            options.parameters.into_iter().map(|one| self.as_host_knows(one)).collect::<Result<_>>()?;
        let devpts = self.open(Open::Devpts { parameters, attributes });
        let owner = self.root_on_host();
        self.open(Open::Master { devpts, owner });
        self.steps.push(Step::Mount(Mount {
            target: path(target)?,
            source: Source::Detached { mount: devpts, name: text(entry.kind.as_str())? },
            attributes: Attributes::default(),
            refuses_links: false,
            is_devices: false,
        }));
        Ok(())
    }

    /// `uid=` and `gid=` are the container's, and the parent is not in its user namespace.
    fn as_host_knows(&self, option: Parameter) -> Result<Parameter> {
        let Some(maps) = &self.maps else { return Ok(option) };
        let host: fn(&Maps, u32) -> Option<u32> = match option.key.to_bytes() {
            b"uid" => Maps::host_user,
            b"gid" => Maps::host_group,
            _ => return Ok(option),
        };
        let given =
            option.value.as_ref().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
        let known = given.parse().ok().and_then(|id| host(maps, id));
        let known = known.ok_or_else(|| {
            invalid(format!(
                "`{}={given}` of `/dev/pts` is not in the user mappings",
                option.key.to_string_lossy()
            ))
        })?;
        Ok(Parameter { value: Some(text(known.to_string())?), ..option })
    }

    /// The container's own cgroups: alone on the mount point with cgroup v2, else one directory for each hierarchy.
    fn cgroups(&mut self, target: &str, options: &Options, host: &Host) -> Result<()> {
        let top = Attributes { set: options.attributes(), ..Attributes::default() };
        if let [CgroupView { name, directory }] = host.cgroup_views.as_slice()
            && name.is_empty()
        {
            return self.cgroup(target, directory.clone(), top);
        }
        let mut directories = Vec::new();
        let mut links = Vec::new();
        for CgroupView { name, .. } in &host.cgroup_views {
            directories.push(text(name.as_str())?);
            // Co-mounted controllers are also found under each of their names.
            for controller in name.split(',').filter(|controller| controller != name) {
                links.push((text(controller)?, text(name.as_str())?));
            }
        }
        let tree = self.open(Open::CgroupTree { directories, links });
        let tree = Source::Detached { mount: tree, name: text("cgroup")? };
        self.steps.push(Step::Mount(plain(path(target)?, tree)));
        for CgroupView { name, directory } in &host.cgroup_views {
            self.cgroup(&format!("{target}/{name}"), directory.clone(), top)?;
        }
        Ok(())
    }

    fn cgroup(&mut self, target: &str, source: PathBuf, top: Attributes) -> Result<()> {
        let recursive = Attributes { propagation: mount::PRIVATE, ..Attributes::default() };
        let name = path(&source)?;
        let slot = self.open(Open::Bind { source, is_recursive: false, recursive, top, owners: None });
        self.steps.push(Step::Mount(plain(path(target)?, Source::Detached { mount: slot, name })));
        Ok(())
    }
}

fn plain(target: CString, source: Source) -> Mount {
    Mount { target, source, attributes: Attributes::default(), refuses_links: false, is_devices: false }
}

/// A destination with one slash in front and none behind or doubled. Links and `..` are the kernel's affair.
pub(super) fn normal(destination: &str) -> String {
    let names = destination.split('/').filter(|name| !name.is_empty() && *name != ".");
    format!("/{}", names.collect::<Vec<_>>().join("/"))
}
