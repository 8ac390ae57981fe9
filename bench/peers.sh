# Sourced by the benchmarks: starts Corten and its peers in private directories, and ends them again.
#
# Peers are Debian's packages, found on PATH; one that is missing is named and left out. Each gets its own root, so that an
# installation of the machine's owner is not touched. Sets: corten, work, and one command prefix per peer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ "$(id -u)" = 0 ] || { echo "bench: run as root" >&2; exit 1; }

# What makes bridges and rules does so where nobody else is.
if [ -n "${own_network:-}" ] && [ -z "${BENCH_IS_ALONE:-}" ]; then
    tests/fixtures/build >&2
    cargo build --quiet --release --bins -p corten -p shim -p bench
    BENCH_IS_ALONE=1 exec unshare --net bench/"$(basename "$0")"
fi
[ -z "${BENCH_IS_ALONE:-}" ] || ip link set lo up

tests/fixtures/build >&2
cargo build --quiet --release --bins -p corten -p shim -p bench
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
bin=$(dirname "$(ls -t "$target"/*/release/measure | head -n 1)")
measure=$bin/measure
work=$(mktemp -d /tmp/corten-bench-XXXXXX)
pids=()

finish() {
    local pid
    if [ -n "${corten_pid:-}" ]; then
        corten ps -aq | xargs -r env DOCKER_HOST="unix://$work/corten/state/docker.sock" "$bin/corten" rm -f >/dev/null 2>&1 || true
    fi
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    grep " $work" /proc/self/mounts | cut -d' ' -f2 | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

end_peers() { # all but Corten
    local pid
    for pid in "${pids[@]}"; do [ "$pid" = "${corten_pid:-}" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true; done
    pids=(${corten_pid:+"$corten_pid"})
}

answers() { # name, command...: waits until a daemon answers
    local name=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || { echo "bench: $name does not answer; see $work" >&2; return 1; }
        sleep 0.1
    done
}

corten() { DOCKER_HOST="unix://$work/corten/state/docker.sock" "$bin/corten" "$@"; }

# State is in memory, as an installation has it in /run.
state() { mkdir -p "$1" && mount -t tmpfs -o mode=0700 tmpfs "$1"; }

start_corten() {
    state "$work/corten/state"
    printf 'root = "%s/root"\nstate = "%s/state"\ncgroup_parent = "/corten-bench-%s"\n%s\n' \
        "$work/corten" "$work/corten" "$$" "${1:-}" >"$work/corten/config.toml"
    "$bin/corten" daemon --config "$work/corten/config.toml" 2>"$work/corten/log" &
    corten_pid=$!
    pids+=("$corten_pid")
    answers corten corten version
    corten import target/fixtures/busybox.tar busybox:latest >/dev/null
    corten_command="env DOCKER_HOST=unix://$work/corten/state/docker.sock $bin/corten"
}

start_containerd() {
    command -v containerd >/dev/null || { echo "bench: containerd is not installed, left out" >&2; return 0; }
    state "$work/containerd/state"
    cat >"$work/containerd/config.toml" <<TOML
version = 2
root = "$work/containerd/root"
state = "$work/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd/sock"
TOML
    containerd --config "$work/containerd/config.toml" >"$work/containerd/log" 2>&1 &
    containerd_pid=$!
    pids+=("$containerd_pid")
    answers containerd ctr -a "$work/containerd/sock" version
    ctr_command="ctr -a $work/containerd/sock"
}

start_docker() { # flags of its network; without them it has none
    local network=("$@")
    [ $# -gt 0 ] || network=(--bridge none --iptables=false)
    command -v dockerd >/dev/null || { echo "bench: dockerd is not installed, left out" >&2; return 0; }
    [ -n "${containerd_pid:-}" ] || return 0
    state "$work/docker/state"
    dockerd --data-root "$work/docker/root" --exec-root "$work/docker/state" --pidfile "$work/docker/pid" \
        -H "unix://$work/docker/sock" --containerd "$work/containerd/sock" "${network[@]}" \
        >"$work/docker/log" 2>&1 &
    docker_pid=$!
    pids+=("$docker_pid")
    docker_command="$(docker_client) -H unix://$work/docker/sock"
    answers docker $docker_command version
    $docker_command import target/fixtures/busybox.tar busybox:latest >/dev/null
    # containerd gets the same image through an archive.
    $docker_command save busybox:latest -o "$work/busybox-image.tar"
    ctr -a "$work/containerd/sock" images import "$work/busybox-image.tar" >/dev/null
}

# The client that belongs to Debian's dockerd.
docker_client() { if [ -x /usr/bin/docker ]; then echo /usr/bin/docker; else command -v docker; fi; }

start_podman() {
    command -v podman >/dev/null || { echo "bench: podman is not installed, left out" >&2; return 0; }
    state "$work/podman/state"
    printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=%s:%s"]\n' 1024 1024 >"$work/podman/containers.conf"
    # podman refuses a hybrid hierarchy: it sees one without the unified tree.
    cat >"$work/podman/run" <<SH
#!/bin/sh
exec nsenter --mount=$work/podman/ns env CONTAINERS_CONF=$work/podman/containers.conf podman --root $work/podman/root --runroot $work/podman/state --cgroup-manager cgroupfs --events-backend none "\$@"
SH
    chmod +x "$work/podman/run"
    mkdir -p "$work/podman/mnt"
    mount --bind "$work/podman/mnt" "$work/podman/mnt"
    mount --make-private "$work/podman/mnt"
    touch "$work/podman/mnt/ns"
    unshare --mount="$work/podman/mnt/ns" --propagation private sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; true'
    sed -i "s|$work/podman/ns|$work/podman/mnt/ns|" "$work/podman/run"
    if "$work/podman/run" import "$PWD/target/fixtures/busybox.tar" localhost/busybox:latest >"$work/podman/log" 2>&1; then
        podman_command="$work/podman/run"
    else
        echo "bench: podman does not work here, left out: $(tail -n 1 "$work/podman/log")" >&2
    fi
}

prepare_crun() {
    command -v crun >/dev/null || { echo "bench: crun is not installed, left out" >&2; return 0; }
    mkdir -p "$work/crun/rootfs"
    tar -C "$work/crun/rootfs" -xf target/fixtures/busybox.tar
    (cd "$work/crun" && crun spec && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/' config.json)
    mkdir -p "$work/crun/mnt"
    mount --bind "$work/crun/mnt" "$work/crun/mnt"
    mount --make-private "$work/crun/mnt"
    touch "$work/crun/mnt/ns"
    unshare --mount="$work/crun/mnt/ns" --propagation private sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; true'
    # nsenter costs as much as a small program's start; it is measured beside it.
    crun_enter="nsenter --mount=$work/crun/mnt/ns"
}
