//! The commands and their flags, in the order in which `ctr` shows them.

use crate::grammar::{Command, Does, Flag, Kind};
use crate::{
    containers, content, events, images, install, leases, metrics, namespaces, run, runtime, sandboxes,
    server, shim, snapshots, spec, tasks,
};

/// A command that does something.
macro_rules! does {
    ($names:expr, $usage:expr, $operands:expr, $flags:expr, $function:path) => {
        Command {
            names: $names,
            usage: $usage,
            operands: $operands,
            flags: $flags,
            does: Does::Action(|call| Box::pin($function(call))),
        }
    };
}

const fn group(names: &'static [&'static str], usage: &'static str, commands: &'static [Command]) -> Command {
    Command { names, usage, operands: "", flags: &[], does: Does::Group(commands) }
}

const fn refuse(names: &'static [&'static str], usage: &'static str, reason: &'static str) -> Command {
    Command { names, usage, operands: "", flags: &[], does: Does::Refuse(reason) }
}

/// Why commands of containerd's `ctr` are not here, and what does the same.
const NO_CHECKPOINTS: &str = "checkpoints are not there yet";

const QUIET: &[&str] = &["quiet", "q"];
const DELETE: &[&str] = &["delete", "del", "remove", "rm"];
const LIST: &[&str] = &["list", "ls"];
const SNAPSHOTTER: &[Flag] =
    &[Flag::text(&["snapshotter"], "Snapshotter name; empty stands for the namespace's default")
        .env("CONTAINERD_SNAPSHOTTER")];

const REGISTRY: &[Flag] = &[
    Flag::switch(&["skip-verify", "k"], "Do not check the registry's certificate"),
    Flag::switch(&["plain-http"], "Speak plain HTTP to the registry"),
    Flag::text(&["user", "u"], "User[:password] at the registry"),
    Flag::text(&["refresh"], "Refresh token for the server of tokens"),
    Flag::text(&["hosts-dir"], "Folder with <host>/hosts.toml, in place of the configured ones"),
    Flag::text(&["tlscacert"], "File of who may have signed the registry's certificate"),
    Flag::text(&["tlscert"], "File of a certificate to show"),
    Flag::text(&["tlskey"], "File of its key"),
    Flag::switch(&["http-dump"], "Show what is said to the registry").refused(NO_HTTP),
    Flag::switch(&["http-trace"], "Show when what is said to the registry").refused(NO_HTTP),
];
const NO_HTTP: &str = "what is said to a registry is not shown, because of the passwords in it; errors tell which host failed and why";
const PLATFORMS: &[Flag] = &[
    Flag::list(&["platform"], "The image for this platform"),
    Flag::switch(&["all-platforms"], "The images for all platforms"),
];
const NO_EROFS: &str =
    "layers are tar archives here; `images convert --uncompress` stores them without compression";
const LOCAL: &[Flag] = &[Flag::switch(
    &["local"],
    "Do it from this side; that is also done when the daemon has no transfer service",
)];
const SYNC_FS: &[Flag] = &[Flag::switch(&["sync-fs"], "What is unpacked is on the disk at the end")];

const IO: &[Flag] = &[
    Flag::switch(&["null-io"], "Send all output to /dev/null"),
    Flag::text(&["log-uri"], "Where the shim sends the output"),
    Flag::text(&["fifo-dir"], "Folder for the pipes of the streams"),
    Flag::switch(&["detach", "d"], "Do not wait for the process's end"),
];
const PID_FILE: &[Flag] = &[Flag::text(&["pid-file"], "File to write the task's process id to")];
const RUNTIME: &[Flag] = &[
    Flag::text(&["runtime"], "Name of the runtime, or path of its shim").or("io.containerd.runc.v2"),
    Flag::text(&["runtime-config-path"], "File with the runtime's options"),
    Flag::text(&["runc-binary"], "Program in place of runc"),
    Flag::text(&["runc-root"], "Where runc keeps its state"),
    Flag::switch(&["runc-systemd-cgroup"], "Let systemd make the cgroup, which --cgroup names"),
];
const CONTAINER: &[Flag] = &[
    Flag::text(&["snapshotter"], "Snapshotter name; empty stands for the namespace's default")
        .env("CONTAINERD_SNAPSHOTTER"),
    Flag::list(&["snapshotter-label"], "Label of the container's snapshot"),
    Flag::text(&["cwd"], "Working directory of the process"),
    Flag::list(&["env"], "Variable of the process (FOO=bar)"),
    Flag::list(&["label"], "Label of the container (foo=bar)"),
    Flag::list(&["annotation"], "Annotation of the container (foo=bar)"),
    Flag::list(&["mount"], "Mount (type=bind,src=/tmp,dst=/host,options=rbind:ro)"),
    Flag::switch(&["net-host"], "Use the host's network"),
    Flag::switch(&["read-only"], "The root is read-only"),
    Flag::switch(&["tty", "t"], "Give the process a terminal"),
    Flag::list(&["with-ns"], "Join a namespace that exists (nstype:path)"),
    Flag::switch(&["allow-new-privs"], "The process may gain privileges"),
    Flag::new(Kind::Integer, &["memory-limit"], "Limit of memory, in bytes"),
    Flag::text(&["hostname"], "Host name of the container"),
    Flag::text(&["user", "u"], "User and group of the process, as numbers"),
    Flag::switch(&["rootfs"], "The first operand is a folder, not an image"),
    Flag::text(&["config", "c"], "File with the whole document; the only operand is the container's id then"),
    Flag::text(&["env-file"], "File with variables of the process, one in each line"),
    Flag::switch(&["privileged"], "Give the process every right that this program has, and all devices"),
    Flag::text(&["sandbox"], "Sandbox that the container is in"),
    Flag::list(&["cap-add"], "Give the process a capability (CAP_...)"),
    Flag::list(&["cap-drop"], "Take a capability away from the process (CAP_...)"),
    Flag::switch(&["seccomp"], "Filter system calls, by the default profile"),
    Flag::text(&["seccomp-profile"], "File with the filter that --seccomp uses"),
    Flag::text(&["apparmor-profile"], "AppArmor profile of the process, which is loaded already"),
    Flag::text(&["apparmor-default-profile"], "Load a default AppArmor profile under this name")
        .refused("this client loads no profiles; name one that is loaded with --apparmor-profile"),
    Flag::text(&["rdt-class"], "Class of service of Intel's Resource Director"),
    Flag::text(&["blockio-config-file"], "File with classes of block I/O").refused(NO_BLOCKIO),
    Flag::text(&["blockio-class"], "Class of block I/O").refused(NO_BLOCKIO),
    Flag::switch(&["no-pivot"], "Do not pivot the root (runc)"),
    Flag::new(Kind::Integer, &["cpu-quota"], "Processor time in each period, in microseconds"),
    Flag::new(Kind::Unsigned, &["cpu-period"], "Length of a period, in microseconds"),
    Flag::text(&["rootfs-propagation"], "Propagation of the root's mounts"),
    Flag::list(&["device"], "Give a device, or all below a folder"),
    Flag::list(&["gpus"], "Give a GPU")
        .refused("this client reads no vendor's files; `corten run --gpus` does"),
];
const NO_BLOCKIO: &str =
    "classes of block I/O are not there yet; set weights and limits in the document that --config names";

/// What only `run` has.
const RUN: &[Flag] = &[
    Flag::switch(&["rm"], "Remove the container at its end"),
    Flag::text(&["cgroup"], "Path of the container's cgroup; empty for none"),
    Flag::text(&["platform"], "Platform of the image"),
    Flag::switch(&["cni"], "Connect the container to the first network of /etc/cni/net.d"),
    Flag::switch(&["sync-fs"], "Write what is unpacked to disk")
        .refused("an image is unpacked before it is run; nothing is unpacked here"),
    Flag::text(&["dump-config"], "Write the container's document to this file"),
    Flag::list(&["uidmap"], "Users of the container (container-uid:host-uid:length)"),
    Flag::list(&["gidmap"], "Groups of the container (container-gid:host-gid:length)"),
    Flag::switch(&["remap-labels"], "Let the snapshotter map the users of the image's files"),
    Flag::switch(&["privileged-without-host-devices"], "Give a privileged container no devices of the host"),
    Flag::new(Kind::Real, &["cpus"], "How many processors' time the container gets"),
    Flag::new(Kind::Integer, &["cpu-shares"], "Weight of the container's processor time").or("1024"),
    Flag::text(&["cpuset-cpus"], "Processors that the container runs on (0-2,4)"),
    Flag::text(&["cpuset-mems"], "Memory nodes that the container uses (0-2,4)"),
    Flag::text(&["rlimit-nofile"], "Limit of open files (soft:hard)"),
];

/// `ctr` itself: its flags are every command's.
pub(crate) static ROOT: Command = Command {
    names: &["ctr"],
    usage: "a client of containerd's API",
    operands: "",
    flags: &[&[
        Flag::switch(&["debug"], "Enable debug output in logs").refused("this client logs nothing; leave it out"),
        Flag::text(&["address", "a"], "Address of the daemon's socket; empty stands for Corten's, or containerd's when only that is there")
            .env("CONTAINERD_ADDRESS"),
        Flag::new(Kind::Duration, &["timeout"], "How long the command may take").or("0s"),
        Flag::new(Kind::Duration, &["connect-timeout"], "How long to try to connect").or("0s"),
        Flag::text(&["namespace", "n"], "Namespace to use with commands").or("default").env("CONTAINERD_NAMESPACE"),
        Flag::switch(&["version", "v"], "Print the version"),
    ]],
    does: Does::Group(COMMANDS),
};

const COMMANDS: &[Command] = &[
    group(&["plugins", "plugin"], "Show the daemon's plugins", PLUGINS),
    does!(&["version"], "Print the versions of client and server", "", &[], server::version),
    group(&["containers", "c", "container"], "Manage containers", CONTAINERS),
    group(&["content"], "Manage content", CONTENT),
    does!(
        &["events", "event"],
        "Show what happens, in all namespaces",
        "[<filter>, ...]",
        &[],
        events::watch
    ),
    group(&["images", "image", "i"], "Manage images", IMAGES),
    group(&["leases"], "Manage leases", LEASES),
    group(&["namespaces", "namespace", "ns"], "Manage namespaces", NAMESPACES),
    does!(
        &["run"],
        "Run a container",
        "Image|RootFS ID [COMMAND] [ARG...]",
        &[RUN, IO, PID_FILE, RUNTIME, CONTAINER,],
        run::run
    ),
    refuse(&["pprof"], "Profiles of a daemon written in Go", "there is no Go in this daemon; use perf"),
    Command { flags: &[SNAPSHOTTER], ..group(&["snapshots", "snapshot"], "Manage snapshots", SNAPSHOTS) },
    group(&["tasks", "t", "task"], "Manage tasks", TASKS),
    does!(&["info"], "Print what the server tells about itself", "", &[], server::info),
    group(&["deprecations"], "What will go away", DEPRECATIONS),
    does!(
        &["install"],
        "Install the programs of an image on this machine",
        "<ref>",
        &[&[
            Flag::switch(&["libs", "l"], "Install its libraries, too"),
            Flag::switch(&["replace", "r"], "Replace programs and libraries that are there"),
            Flag::text(&["path"], "Folder to install to, in place of the daemon's"),
        ]],
        install::install
    ),
    group(&["oci"], "Show documents of containers", OCI),
    group(&["sandboxes", "sandbox", "sb", "s"], "Manage sandboxes", SANDBOXES),
    Command { flags: &[SHIM_FLAGS], ..group(&["shim"], "Talk to a shim directly", SHIM) },
];

const PLUGINS: &[Command] = &[
    does!(
        LIST,
        "List plugins",
        "[<filter>, ...]",
        &[&[
            Flag::switch(QUIET, "Print only the plugins' ids"),
            Flag::switch(&["detailed", "d"], "Print all about each plugin"),
        ]],
        server::plugins
    ),
    does!(&["inspect-runtime"], "Show what a runtime says about itself", "", &[RUNTIME], runtime::inspect),
];

const OCI: &[Command] = &[does!(
    &["spec"],
    "Show the document of a container that asks for nothing",
    "",
    &[&[Flag::text(&["platform"], "Platform of the document")]],
    spec::show
)];

const SANDBOXES: &[Command] = &[
    does!(
        &["run", "create", "c", "r"],
        "Run a sandbox",
        "<pod-config.json> <sandbox-id>",
        &[&[Flag::text(&["runtime"], "Name of the runtime").or("io.containerd.runc.v2")]],
        sandboxes::run
    ),
    does!(
        LIST,
        "List sandboxes",
        "",
        &[&[Flag::list(&["filters"], "Which ones, as a filter")]],
        sandboxes::list
    ),
    does!(
        &["remove", "rm"],
        "Stop and remove sandboxes",
        "<id> [<id>, ...]",
        &[&[Flag::switch(&["force", "f"], "Remove what does not stop, too")]],
        sandboxes::remove
    ),
    does!(&["info", "i"], "Show what is kept of a sandbox", "<sandbox id>", &[], sandboxes::info),
];

const SHIM_FLAGS: &[Flag] = &[
    Flag::text(&["id"], "Id of the shim, which is its first container's"),
    Flag::text(
        &["shim-address"],
        "Address of its socket; without it, the place where containerd's shims have it",
    ),
];
const API_VERSION: &[Flag] =
    &[Flag::new(Kind::Integer, &["api-version"], "Version of the protocol: 3 or 2; the newest that it has")];
const SHIM: &[Command] = &[
    does!(&["delete"], "Delete a task that has ended", "CONTAINER", &[], shim::delete),
    does!(
        &["exec"],
        "Run another process in the container",
        "EXEC",
        &[&[
            Flag::text(&["stdin"], "Pipe that the process reads"),
            Flag::text(&["stdout"], "Pipe, file or logger that it writes to"),
            Flag::text(&["stderr"], "The same for its errors"),
            Flag::switch(&["tty", "t"], "Give it a terminal"),
            Flag::text(&["spec"], "File with the process, as the runtime's document has it"),
            Flag::switch(&["attach", "a"], "Stay with the process").refused("use `tasks exec`"),
            Flag::list(&["env", "e"], "Variable of the process").refused("the file of --spec has them"),
            Flag::text(&["cwd"], "Working directory").refused("the file of --spec has it"),
        ]],
        shim::exec
    ),
    does!(&["start"], "Start a task that was created", "CONTAINER", &[], shim::start),
    does!(
        &["state"],
        "Show the state of a task",
        "",
        &[&[Flag::text(&["task-id", "t"], "The task, when it is not the shim's first")], API_VERSION],
        shim::state
    ),
    does!(&["shutdown"], "End a shim that has no task", "", &[API_VERSION], shim::shutdown),
    refuse(&["pprof"], "Profiles of a shim written in Go", "there is no Go in Corten's shims; use perf"),
];

const CONTAINERS: &[Command] = &[
    does!(
        &["create"],
        "Create a container",
        "Image|RootFS CONTAINER [COMMAND] [ARG...]",
        &[RUNTIME, CONTAINER],
        run::create
    ),
    does!(
        DELETE,
        "Delete containers whose task is gone",
        "CONTAINER [CONTAINER, ...]",
        &[&[Flag::switch(&["keep-snapshot"], "Leave the container's snapshot")]],
        containers::delete
    ),
    does!(
        &["info"],
        "Show what is kept of a container",
        "CONTAINER",
        &[&[Flag::switch(&["spec"], "Show only the runtime's document")]],
        containers::info
    ),
    does!(
        LIST,
        "List containers",
        "[<filter>, ...]",
        &[&[Flag::switch(QUIET, "Print only the containers' ids")]],
        containers::list
    ),
    does!(
        &["label"],
        "Set and clear labels of a container",
        "CONTAINER [<key>=<value>, ...]",
        &[],
        containers::label
    ),
    refuse(&["checkpoint"], "Checkpoint a container", NO_CHECKPOINTS),
    refuse(&["restore"], "Restore a container from a checkpoint", NO_CHECKPOINTS),
];

const CONTENT: &[Command] = &[
    does!(&["active"], "Show uploads under way", "[<regexp>]", &[], content::active),
    does!(DELETE, "Delete blobs", "[<digest>, ...]", &[], content::delete),
    does!(
        &["edit"],
        "Edit a blob, and store the result as another one",
        "<digest>",
        &[&[Flag::text(&["editor"], "The editor").env("EDITOR")]],
        content::edit
    ),
    does!(&["get"], "Print a blob", "<digest>", &[], content::get),
    does!(
        &["ingest"],
        "Store what comes on stdin",
        "<key>",
        &[&[
            Flag::new(Kind::Integer, &["expected-size"], "Size that it must have, in bytes"),
            Flag::text(&["expected-digest"], "Digest that it must have"),
        ]],
        content::ingest
    ),
    does!(
        LIST,
        "List blobs",
        "[<filter>, ...]",
        &[&[Flag::switch(QUIET, "Print only the digests")]],
        content::list
    ),
    does!(
        &["label"],
        "Set and clear labels of a blob",
        "<digest> [<label>=<value> ...]",
        &[],
        content::label
    ),
    does!(
        &["fetch"],
        "Fetch an image into the content, without unpacking it",
        "<remote>",
        &[
            REGISTRY,
            PLATFORMS,
            &[
                Flag::list(&["label"], "Label of the image (foo=bar)"),
                Flag::switch(&["metadata-only"], "Without the layers"),
            ],
        ],
        content::remote::fetch
    ),
    does!(
        &["fetch-object"],
        "Print the document that a name leads to at its registry",
        "<remote>",
        &[REGISTRY],
        content::remote::fetch_object
    ),
    does!(
        &["fetch-blob"],
        "Print blobs of a registry",
        "<remote> [<digest>, ...]",
        &[
            REGISTRY,
            &[Flag::text(&["media-type"], "Media type to ask for").refused("blobs come as they are")]
        ],
        content::remote::fetch_blob
    ),
    does!(
        &["push-object"],
        "Push a blob or a document to a registry",
        "<remote> <object> <type>",
        &[REGISTRY],
        content::remote::push_object
    ),
    group(&["prune"], "Let content be collected", PRUNE),
];

const PRUNE: &[Command] = &[does!(
    &["references"],
    "Let the layers of images be collected",
    "",
    &[&[
        Flag::switch(&["async"], "Do not wait for the collection"),
        Flag::switch(&["dry"], "Only show what would be done"),
    ]],
    content::prune::references
)];

const IMAGES: &[Command] = &[
    does!(
        &["check"],
        "Check that all of the images' content is here",
        "[<filter>, ...]",
        &[&[Flag::switch(QUIET, "Print only the names of images that are whole and unpacked")], SNAPSHOTTER],
        images::check
    ),
    does!(
        &["inspect", "i"],
        "Show what an image consists of",
        "<image>",
        &[&[Flag::switch(&["content"], "Show the documents")]],
        images::inspect
    ),
    does!(
        LIST,
        "List images",
        "[<filter>, ...]",
        &[&[Flag::switch(QUIET, "Print only the names")]],
        images::list
    ),
    does!(
        &["prune"],
        "Remove images that no container uses",
        "",
        &[&[Flag::switch(&["all"], "Required")]],
        images::prune
    ),
    does!(
        DELETE,
        "Remove images by their names",
        "<ref> [<ref>, ...]",
        &[&[Flag::switch(&["sync"], "Wait until what they alone held is gone, too")]],
        images::delete
    ),
    does!(
        &["tag"],
        "Give an image more names",
        "<source_ref> <target_ref> [<target_ref>, ...]",
        &[&[
            Flag::switch(&["force"], "Take the name from the image that has it"),
            Flag::switch(&["local"], "Refuse names that are taken"),
            Flag::switch(&["skip-reference-check"], "Names are not checked, with this flag or without it"),
        ]],
        images::tag
    ),
    does!(
        &["label"],
        "Set and clear labels of an image",
        "<name> [<key>=<value>, ...]",
        &[&[Flag::switch(&["replace-all", "r"], "Replace all labels")]],
        images::label
    ),
    does!(&["usage"], "Show what an image's snapshots take", "<ref>", &[SNAPSHOTTER], images::usage),
    does!(
        &["export"],
        "Write images into an archive (- for stdout)",
        "<out> <image> ...",
        &[
            &[
                Flag::switch(&["skip-manifest-json"], "Leave out the list that only Docker reads"),
                Flag::switch(&["skip-non-distributable"], "Leave out layers that may not be passed on"),
            ],
            PLATFORMS,
            LOCAL,
        ],
        images::export::export
    ),
    does!(
        &["import"],
        "Take the images of an archive (- for stdin)",
        "<in>",
        &[
            &[
                Flag::text(&["base-name"], "What the images' names begin with; others are left out"),
                Flag::switch(&["digests"], "Give the images names by digest, too"),
                Flag::switch(&["skip-digest-for-named"], "But not those that have a name"),
                Flag::text(&["index-name"], "Name to keep the archive's index by"),
                Flag::switch(&["all-platforms"], "Images for all platforms"),
                Flag::text(&["platform"], "Images for this platform"),
                Flag::switch(&["no-unpack"], "Do not unpack them"),
                Flag::switch(&["compress-blobs"], "Compress layers that are not")
                    .refused("layers are stored as they come"),
                Flag::switch(
                    &["discard-unpacked-layers"],
                    "Let the layers be collected once they are unpacked"
                ),
                Flag::list(&["label"], "Label of the images (foo=bar)"),
            ],
            SYNC_FS,
            LOCAL,
            SNAPSHOTTER,
        ],
        images::import::import
    ),
    does!(
        &["pull"],
        "Pull an image from a registry",
        "<ref>",
        &[
            REGISTRY,
            SNAPSHOTTER,
            PLATFORMS,
            &[
                Flag::list(&["label"], "Label of the image (foo=bar)"),
                Flag::switch(&["skip-metadata"], "Leave out the documents of other platforms"),
                Flag::switch(&["print-chainid"], "Print the name of the uppermost snapshot"),
                Flag::new(Kind::Integer, &["max-concurrent-downloads"], "Blobs to fetch at one time"),
            ],
            SYNC_FS,
            LOCAL,
        ],
        images::pull::pull
    ),
    does!(
        &["push"],
        "Push an image to a registry",
        "<remote> [<local>]",
        &[
            REGISTRY,
            &[
                Flag::text(&["manifest"], "Digest of the manifest to push"),
                Flag::text(&["manifest-type"], "Media type of that manifest")
                    .or("application/vnd.oci.image.manifest.v1+json"),
                Flag::list(&["platform"], "Push the image for this platform"),
                Flag::new(Kind::Integer, &["max-concurrent-uploaded-layers"], "Blobs to send at one time"),
                Flag::switch(
                    &["allow-non-distributable-blobs"],
                    "Send layers that may not be passed on, too"
                ),
            ],
            LOCAL,
        ],
        images::push::push
    ),
    does!(
        &["mount"],
        "Mount an image's files in a folder",
        "<ref> <target>",
        &[
            SNAPSHOTTER,
            &[
                Flag::switch(&["rw"], "Files may be written"),
                Flag::text(&["platform"], "The image for this platform"),
            ],
            SYNC_FS,
        ],
        images::mount::mount
    ),
    does!(
        &["unmount"],
        "Unmount an image's files",
        "<target>",
        &[SNAPSHOTTER, &[Flag::switch(&["rm"], "Remove what was written, too")]],
        images::mount::unmount
    ),
    does!(
        &["convert"],
        "Convert an image",
        "<source_ref> <target_ref>",
        &[
            &[
                Flag::switch(&["uncompress"], "Store the layers without compression"),
                Flag::switch(&["oci"], "Make Docker's media types those of the image specification"),
                Flag::text(&["erofs"], "Make layers EROFS images").refused(NO_EROFS),
                Flag::text(&["erofs-compressors"], "How those are compressed").refused(NO_EROFS),
                Flag::text(&["erofs-mkfs-options"], "What mkfs.erofs is told").refused(NO_EROFS),
            ],
            PLATFORMS,
        ],
        images::convert::convert
    ),
    refuse(&["build-erofs-cache"], "Build a cache of EROFS layers from an image", NO_EROFS),
];

const LEASES: &[Command] = &[
    does!(
        LIST,
        "List leases",
        "[<filter>, ...]",
        &[&[Flag::switch(QUIET, "Print only the leases' ids")]],
        leases::list
    ),
    does!(
        &["create"],
        "Create a lease",
        "<label>=<value> ...",
        &[&[
            Flag::text(&["id"], "Id of the lease; generated when it is left out"),
            Flag::new(Kind::Duration, &["expires", "x"], "When the lease ends (0 for never)").or("24h0m0s"),
        ]],
        leases::create
    ),
    does!(
        DELETE,
        "Delete leases",
        "<lease id> ...",
        &[&[Flag::switch(&["sync"], "Wait until what they alone held is gone, too")]],
        leases::delete
    ),
];

const NAMESPACES: &[Command] = &[
    does!(&["create", "c"], "Create a namespace", "<name> [<key>=<value>]", &[], namespaces::create),
    does!(LIST, "List namespaces", "", &[&[Flag::switch(QUIET, "Print only the names")]], namespaces::list),
    does!(
        &["remove", "rm"],
        "Remove namespaces that are empty",
        "<name> [<name>, ...]",
        &[&[Flag::switch(&["cgroup", "c"], "Delete the namespace's cgroup")
            .refused("a namespace has no cgroup of its own here; leave it out")]],
        namespaces::remove
    ),
    does!(
        &["label"],
        "Set and clear labels of a namespace",
        "<name> [<key>=<value>, ...]",
        &[],
        namespaces::label
    ),
];

const MOUNT_FLAGS: &[Flag] = &[
    Flag::text(&["target", "t"], "Print the command that mounts it there"),
    Flag::switch(&["mounts"], "Print the mounts as JSON"),
];

const SNAPSHOTS: &[Command] = &[
    does!(
        &["commit"],
        "Make an active snapshot a parent of others",
        "<key> <active>",
        &[],
        snapshots::commit
    ),
    does!(DELETE, "Remove snapshots", "<key> [<key>, ...]", &[], snapshots::remove),
    does!(&["info"], "Show a snapshot", "<key>", &[], snapshots::info),
    does!(
        &["label"],
        "Set and clear labels of a snapshot",
        "<name> [<label>=<value> ...]",
        &[],
        snapshots::label
    ),
    does!(LIST, "List snapshots", "", &[], snapshots::list),
    does!(
        &["mounts", "m", "mount"],
        "Print the commands that mount a snapshot",
        "<target> <key>",
        &[],
        snapshots::mounts
    ),
    does!(
        &["prepare"],
        "Make a snapshot that is written to",
        "<key> [<parent>]",
        &[MOUNT_FLAGS],
        snapshots::prepare
    ),
    does!(&["tree"], "Show which snapshot is based on which", "", &[], snapshots::tree),
    does!(
        &["usage"],
        "Show what snapshots take",
        "[<key>, ...]",
        &[&[Flag::switch(&["b"], "Show bytes")]],
        snapshots::disk_usage
    ),
    does!(
        &["view"],
        "Make a snapshot that is only read",
        "<key> [<parent>]",
        &[MOUNT_FLAGS],
        snapshots::view
    ),
    does!(
        &["diff"],
        "Print the layer that is between two snapshots (default: between the first and its parent)",
        "<idA> [<idB>]",
        &[&[
            Flag::text(&["media-type"], "Media type of the layer")
                .or("application/vnd.oci.image.layer.v1.tar+gzip"),
            Flag::text(&["ref"], "Name of the layer's upload"),
            Flag::switch(&["keep"], "Keep the layer in the content, until somebody deletes it"),
            Flag::list(&["label"], "Label of the layer (foo=bar)"),
        ]],
        snapshots::layers::diff
    ),
    does!(
        &["unpack"],
        "Unpack the layers of an image into snapshots",
        "<digest>",
        &[SYNC_FS],
        snapshots::layers::unpack
    ),
];

const TASKS: &[Command] = &[
    does!(
        &["exec"],
        "Run another process in a container",
        "CONTAINER CMD [ARG...]",
        &[
            &[
                Flag::text(&["cwd"], "Working directory of the process"),
                Flag::switch(&["tty", "t"], "Give the process a terminal"),
                Flag::text(&["exec-id"], "Id of the process"),
                Flag::text(&["user"], "User and group of the process, as numbers"),
            ],
            IO,
        ],
        run::exec
    ),
    does!(
        &["start"],
        "Start a container that was created",
        "CONTAINER",
        &[IO, PID_FILE, &[Flag::switch(&["no-pivot"], "Do not pivot the root (runc)")]],
        run::start
    ),
    does!(
        DELETE,
        "Delete tasks that have ended",
        "CONTAINER [CONTAINER, ...]",
        &[&[
            Flag::switch(&["force", "f"], "Kill what still runs"),
            Flag::text(&["exec-id"], "Delete this process of the container instead"),
        ]],
        tasks::delete
    ),
    does!(LIST, "List tasks", "", &[&[Flag::switch(QUIET, "Print only the tasks' ids")]], tasks::list),
    does!(
        &["kill"],
        "Signal a container (default: what its image says, or SIGTERM)",
        "CONTAINER",
        &[&[
            Flag::text(&["signal", "s"], "Signal to send, by name or number"),
            Flag::text(&["exec-id"], "Signal this process of the container instead"),
            Flag::switch(&["all", "a"], "Signal all processes of the container"),
        ]],
        tasks::kill
    ),
    does!(&["pause"], "Pause a container", "CONTAINER", &[], tasks::pause),
    does!(&["ps"], "List the processes of a container", "CONTAINER", &[], tasks::processes),
    does!(&["resume"], "Let a paused container go on", "CONTAINER", &[], tasks::resume),
    does!(&["attach"], "Connect to the streams of a task", "CONTAINER", &[], tasks::attach),
    refuse(&["checkpoint"], "Checkpoint a task", NO_CHECKPOINTS),
    does!(
        &["metrics", "metric"],
        "Show what a task uses",
        "CONTAINER",
        &[&[Flag::text(&["format"], "Output format: table or json").or("table")]],
        metrics::show
    ),
];

const DEPRECATIONS: &[Command] = &[does!(
    LIST,
    "Print what will go away",
    "",
    &[&[Flag::text(&["format"], "Output format: default or json").or("default")]],
    server::deprecations
)];
