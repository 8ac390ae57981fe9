"""The daemons that are compared, each with directories and a network of its own, and the images that all of them have."""

import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

# A daemon that does not answer within this many seconds is not going to.
START_SECONDS = 60


class Daemon:
    """A running daemon and what it needs; `stop` ends it and takes everything away again."""

    def __init__(self, name, directory, command, state):
        self.name = name
        self.directory = directory
        self.socket = state / "docker.sock"
        self.log = open(directory / "log", "w")
        # Mounts and interfaces of a killed daemon go with its namespaces.
        alone = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
        self.process = subprocess.Popen(alone + command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"compare: {name} does not start: {(directory / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        # As a registry's images have them: the same bytes for everybody, and so the same names.
        self.ask("POST", "/images/load?quiet=1", image_archive(), "application/x-tar")
        self.images = {image["Id"] for image in self.ask("GET", "/images/json")}

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
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text.decode(errors="replace")

    def clean(self):
        """Takes away what a scene left."""
        for container in self.ask("GET", "/containers/json?all=1") or []:
            self.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for kind in ("networks", "volumes"):
            everything = '{"all":{"true":true}}' if kind == "volumes" else "{}"
            self.ask("POST", f"/{kind}/prune?filters={quote(everything)}")
        for image in self.ask("GET", "/images/json?all=1") or []:
            extra = [tag for tag in image["RepoTags"] or [] if tag not in TAGS]
            for name in extra + ([] if image["Id"] in self.images else [image["Id"]]):
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


def dockerd(name, program, directory):
    """A real dockerd with its own containerd."""
    directory.mkdir()
    state = directory / "state"
    state.mkdir()
    command = [program, "--data-root", directory / "root", "--exec-root", state, "--pidfile", directory / "pid"]
    return Daemon(name, directory, [str(word) for word in command + ["--host", f"unix://{state}/docker.sock"]], state)


def corten(program, directory):
    """The daemon that is judged."""
    directory.mkdir()
    config = directory / "config.toml"
    group = f"/{directory.parent.name}"
    config.write_text(f'root = "{directory}/root"\nstate = "{directory}/state"\ncgroup_parent = "{group}"\n')
    return Daemon("corten", directory, [str(program), "daemon", "--config", str(config)], directory / "state")


# The images that every scene finds. `server` has all that an image can say.
TAGS = {"busybox:latest", "server:1", "localhost:5000/team/app:2"}


def image_archive():
    """Two images of the same busybox, as `docker save` writes them, the same for every daemon."""
    layer = busybox_layer()
    plain = {"Cmd": ["sh"], "Env": ["PATH=/bin"]}
    server = {
        "Cmd": ["httpd", "-f", "-h", "/var/www"], "Env": ["PATH=/bin", "LEVEL=info"], "ExposedPorts": {"80/tcp": {}},
        "Labels": {"role": "server", "tier": "front"}, "Volumes": {"/data": {}}, "WorkingDir": "/var/www", "StopSignal": "SIGKILL",
    }
    files, manifest = {f"{digest(layer)}/layer.tar": layer}, []
    for tags, config in ((["busybox:latest"], plain), (["server:1", "localhost:5000/team/app:2"], server)):
        document = {
            "architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00Z", "config": config,
            "history": [{"created": "2024-05-01T10:00:00Z", "created_by": "ADD busybox.tar /"}],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}"]},
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        files[f"{digest(text)}.json"] = text
        manifest.append({"Config": f"{digest(text)}.json", "RepoTags": tags, "Layers": [f"{digest(layer)}/layer.tar"]})
    files["manifest.json"] = json.dumps(manifest).encode()
    return tar_of(files)


def busybox_layer():
    """The fixture's files as a layer."""
    return (Path(__file__).parents[2] / "target/fixtures/busybox.tar").read_bytes()


def tar_of(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return archive.getvalue()


def digest(text):
    return hashlib.sha256(text).hexdigest()
