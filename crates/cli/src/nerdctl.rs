//! What nerdctl has and Corten has not: its flags and commands by name, each with the reason and what to use instead.

/// Why a flag is not there.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The last word of the command's path; empty where the flag is refused everywhere.
    command: &'static str,
    flags: &'static [&'static str],
    pub(crate) reason: &'static str,
    pub(crate) hint: &'static str,
}

const fn everywhere(flags: &'static [&'static str], reason: &'static str, hint: &'static str) -> Refusal {
    Refusal { command: "", flags, reason, hint }
}

const fn of(
    command: &'static str,
    flags: &'static [&'static str],
    reason: &'static str,
    hint: &'static str,
) -> Refusal {
    Refusal { command, flags, reason, hint }
}

const CONVERSION: &str = "layers are packed with gzip; other forms of an image are not made yet";
const LAZY: &str = "images are pulled whole; the forms that are read over the network are not made yet";
const SIGNATURES: &str = "images are not signed or verified yet";
const DAEMONS: &str = "that is the daemon's own configuration";

static FLAGS: &[Refusal] = &[
    everywhere(
        &["address"],
        "containerd's socket is not asked",
        "--host names the socket of Corten's daemon",
    ),
    everywhere(&["bridge-ip"], DAEMONS, "`network create --gateway` gives a network an address of its own"),
    everywhere(&["cdi-spec-dirs"], DAEMONS, "devices are found in /etc/cdi and /var/run/cdi"),
    everywhere(&["cni-netconfpath"], DAEMONS, "`network create` makes networks, `network ls` lists them"),
    everywhere(&["cni-path"], "networks are made without plugins", "nothing needs to be installed for them"),
    everywhere(&["data-root"], DAEMONS, "`root` in its configuration, and --state for its state"),
    everywhere(&["experimental"], "there is nothing experimental to switch", ""),
    everywhere(
        &["global-dns", "global-dns-opts", "global-dns-search"],
        "names are asked where each container says",
        "`run` has --dns, --dns-option and --dns-search",
    ),
    everywhere(&["host-gateway-ip"], DAEMONS, "`run --add-host NAME:ADDRESS` takes any address"),
    everywhere(&["hosts-dir"], DAEMONS, "`registry_hosts` in its configuration"),
    everywhere(
        &["insecure-registry"],
        "no registry is trusted unasked, except on loopback",
        "the registry's `hosts.toml` may have `skip_verify = true`, or a server with http://",
    ),
    everywhere(&["kube-hide-dupe"], "an image has no second name here that could be hidden", ""),
    everywhere(&["selinux-enabled"], "containers have no SELinux labels yet", ""),
    everywhere(&["userns-remap"], "user namespaces are not there yet", "`run --user` takes root away"),
    everywhere(
        &["all-platforms"],
        "one platform is pulled, pushed and loaded",
        "--platform names it, where the command has it; `save` writes all that are here",
    ),
    everywhere(&["ipfs-address", "ipfs-ensure-image"], "images do not come over IPFS", ""),
    everywhere(&["verify", "sign"], SIGNATURES, "a digest in the image's name is always verified"),
    everywhere(
        &[
            "cosign-certificate-identity",
            "cosign-certificate-identity-regexp",
            "cosign-certificate-oidc-issuer",
            "cosign-certificate-oidc-issuer-regexp",
            "cosign-key",
            "notation-key-name",
        ],
        SIGNATURES,
        "a digest in the image's name is always verified",
    ),
    everywhere(&["soci-index-digest", "soci-min-layer-size", "soci-span-size"], LAZY, ""),
    everywhere(
        &[
            "estargz",
            "estargz-chunk-size",
            "estargz-compression-level",
            "estargz-min-chunk-size",
            "zstdchunked",
            "zstdchunked-chunk-size",
            "zstdchunked-compression-level",
        ],
        CONVERSION,
        "",
    ),
    of("commit", &["compression", "format"], CONVERSION, ""),
    of("create", &["pidfile"], "there is no process before the start", "`run --pidfile` writes its id"),
    of("push", &["allow-nondistributable-artifacts"], "layers that may not be given away are left out", ""),
    of("pull", &["unpack"], "layers are unpacked as they come", ""),
    of("rm", &["async"], "the answer comes when the room is there again", ""),
    of("rmi", &["async"], "the answer comes when the room is there again", ""),
    of(
        "create",
        &["detach-keys"],
        "nobody is attached to what is only made",
        "`start --detach-keys` takes them",
    ),
    everywhere(
        &["cgroup-conf"],
        "limits have flags of their own",
        "--memory, --cpus, --pids-limit and their kin are in `run --help`",
    ),
    everywhere(&["init-binary"], "the init is Corten's own", "--init runs it"),
    everywhere(&["rdt-class"], "classes of cache and bandwidth are not there yet", ""),
    everywhere(
        &["rootfs"],
        "a container is made of an image",
        "`import` makes one of a folder's archive: tar -C FOLDER -c . | corten import - NAME",
    ),
    everywhere(
        &["umask"],
        "the mask of files is 022 to begin with",
        "sh -c 'umask 027; exec COMMAND' sets another",
    ),
];

/// Commands of nerdctl's that are not there, by their path.
const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "apparmor",
        "AppArmor profiles are not loaded or listed",
        "`run --security-opt` says what holds a container back",
    ),
    (
        "container healthcheck",
        "health checks are made by themselves",
        "`inspect -f '{{json .State.Health}}' CONTAINER` shows what they found",
    ),
    ("image convert", "the other forms of images are not made yet", "`save` writes an OCI archive"),
    ("image decrypt", "images are not encrypted yet", ""),
    ("image encrypt", "images are not encrypted yet", ""),
    ("internal", "that is for nerdctl itself", ""),
    ("ipfs", "images do not come over IPFS", ""),
];

/// nerdctl's flag by its name, and why it is not there; `path` is the command's, with the program's name.
pub(crate) fn flag(name: &str, path: &str) -> Option<(&'static str, &'static Refusal)> {
    // Before the command there is nerdctl's letter for its most important flag.
    let name = if name == "a" && !path.contains(' ') { "address" } else { name };
    let command = path.rsplit(' ').next().unwrap_or_default();
    let here = FLAGS.iter().filter(|refusal| refusal.command.is_empty() || refusal.command == command);
    here.flat_map(|refusal| refusal.flags.iter().map(move |own| (*own, refusal)))
        .find(|(own, _)| *own == name)
}

/// Why nerdctl's command is not there, and what to do instead; `path` is without the program's name.
pub(crate) fn command(path: &str) -> Option<(&'static str, &'static str)> {
    let first = path.split(' ').next().unwrap_or_default();
    let found = COMMANDS.iter().find(|(own, _, _)| *own == path || *own == first);
    found.map(|(_, reason, hint)| (*reason, *hint))
}

#[cfg(test)]
mod tests {
    use super::{command, flag};

    #[test]
    fn a_flag_is_found_where_it_is_nerdctls() {
        let cases = [
            ("address", "nerdctl", true),
            ("a", "nerdctl", true),
            ("a", "nerdctl image prune", false),
            ("compression", "nerdctl container commit", true),
            ("compression", "nerdctl cp", false),
            ("snapshotter", "nerdctl ps", false),
        ];
        for (name, path, is_found) in cases {
            assert_eq!(flag(name, path).is_some(), is_found, "{path} --{name}");
        }
    }

    #[test]
    fn a_command_is_found_by_its_path_or_its_group() {
        assert!(command("image convert").is_some() && command("apparmor ls").is_some());
        assert!(command("image").is_none() && command("convert").is_none());
    }
}
