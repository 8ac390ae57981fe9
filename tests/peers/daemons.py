"""Daemons with directories of their own, dockerd or Corten, and the images that they are given."""

import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
# When every image of ours was made.
CREATED = "2024-05-01T10:00:00Z"
# A daemon that does not answer within this many seconds is not going to.
START_SECONDS = 60


class Daemon:
    """A running daemon and what it needs; `stop` ends it and takes everything away again."""

    def __init__(self, name, directory, command, state, shares_network, cgroup):
        self.name = name
        self.directory = directory
        self.cgroup = cgroup
        self.socket = state / "docker.sock"
        self.tags, self.refusal = set(), None
        self.log = open(directory / "log", "w")
        # Mounts and interfaces of a killed daemon go with its namespaces.
        alone = ["unshare", "--mount", "--propagation", "private"] + ([] if shares_network else ["--net"])
        alone += ["sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
        self.command = command
        self.start(alone + command)

    def start(self, command, **more):
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, **more)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"compare: {self.name} does not start: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self):
        """Kills it and starts it again where it was, as an init does."""
        with open(f"/proc/{self.process.pid}/ns/mnt") as mounts, open(f"/proc/{self.process.pid}/ns/net") as network:
            self.process.kill()
            self.process.wait()
            enter = ["nsenter", *(f"--{kind}=/proc/self/fd/{file.fileno()}" for kind, file in (("mount", mounts), ("net", network)))]
            self.start(enter + self.command, pass_fds=[mounts.fileno(), network.fileno()])

    def answers(self):
        try:
            return self.ask("GET", "/info") is not None
        except OSError:
            return False

    def ask(self, method, path, body=None, kind="application/json"):
        """One request; the answer's JSON, its text when it is none, or None when it was refused."""
        connection = http.client.HTTPConnection("docker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.socket))
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 400:
            self.refusal = f"{method} {path}: {answer.status} {text.decode(errors='replace')}"
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text.decode(errors="replace")

    def must(self, *request):
        """One request that is not refused."""
        answer = self.ask(*request)
        if answer is None:
            raise SystemExit(f"{self.name} refuses {self.refusal}")
        return answer

    def load(self, images, folder):
        """Gives it images, which `clean` leaves alone."""
        archive = folder / "images.tar"
        image_archive(archive, images)
        with open(archive, "rb") as file:
            self.ask("POST", "/images/load?quiet=1", file, "application/x-tar")
        archive.unlink()
        self.tags.update(tag for tags, _, _ in images for tag in tags)

    def clean(self):
        """Takes away all but its images."""
        for container in self.ask("GET", "/containers/json?all=1") or []:
            self.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for kind in ("networks", "volumes"):
            everything = '{"all":{"true":true}}' if kind == "volumes" else "{}"
            self.ask("POST", f"/{kind}/prune?filters={quote(everything)}")
        for image in self.ask("GET", "/images/json?all=1") or []:
            tags = set(image["RepoTags"] or [])
            for name in [*(tags - self.tags), *([] if tags & self.tags else [image["Id"]])]:
                self.ask("DELETE", f"/images/{quote(name, safe='')}?force=1")

    def stop(self):
        self.clean()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        remove_cgroups(self.cgroup)


def dockerd(name, program, directory):
    """A real dockerd with its own containerd."""
    directory.mkdir()
    state = directory / "state"
    state.mkdir()
    command = [program, "--data-root", directory / "root", "--exec-root", state, "--pidfile", directory / "pid"]
    command += ["--host", f"unix://{state}/docker.sock"]
    return Daemon(name, directory, [str(word) for word in command], state, shares_network=False, cgroup="docker")


def corten(directory, shares_network=False):
    """The daemon that is judged."""
    directory.mkdir()
    config = directory / "config.toml"
    group = f"/{directory.parent.name}"
    config.write_text(f'root = "{directory}/root"\nstate = "{directory}/state"\ncgroup_parent = "{group}"\n')
    command = [str(corten_program()), "daemon", "--config", str(config)]
    return Daemon("corten", directory, command, directory / "state", shares_network, group.strip("/"))


def remove_cgroups(name):
    """Takes the empty control groups of that name away; shims end a moment after their daemon."""
    deadline = time.monotonic() + 5
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")]
    while groups := [root / name for root in roots if (root / name).is_dir()]:
        for group in groups:
            for folder in [*sorted(group.rglob("*/"), reverse=True), group]:
                try:
                    folder.rmdir()
                except OSError:
                    pass
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def corten_program():
    """The newest build, unless the environment names one."""
    if "CORTEN_PROGRAM" in os.environ:
        return Path(os.environ["CORTEN_PROGRAM"])
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "../../target"))
    built = sorted(target.glob("**/debug/corten"), key=lambda path: path.stat().st_mtime)
    return built[-1] if built else sys.exit("no corten was built: run cargo build --workspace --bins")


def image_archive(archive, images):
    """Writes an archive as `docker save` does: the same bytes for everybody, and so the same ids. `images` are tags, the name
    of a file of tests/fixtures/build, and the configuration of containers."""
    layers, manifest = {}, []
    with tarfile.open(archive, mode="w") as tar:
        for tags, fixture, config in images:
            source = HERE / "../../target/fixtures" / fixture
            if fixture not in layers:
                with open(source, "rb") as file:
                    layers[fixture] = hashlib.file_digest(file, "sha256").hexdigest()
                tar.add(source, f"{layers[fixture]}/layer.tar")
            document = {
                "architecture": "amd64", "os": "linux", "created": CREATED, "config": config,
                "history": [{"created": CREATED, "created_by": f"ADD {fixture} /"}],
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layers[fixture]}"]},
            }
            text = json.dumps(document, separators=(",", ":")).encode()
            name = f"{hashlib.sha256(text).hexdigest()}.json"
            add(tar, name, text)
            manifest.append({"Config": name, "RepoTags": tags, "Layers": [f"{layers[fixture]}/layer.tar"]})
        add(tar, "manifest.json", json.dumps(manifest).encode())


def add(tar, name, text):
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text))
