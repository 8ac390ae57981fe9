"""Corten with the images that real stacks are made of, for all tests of a run."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "../peers"))
import daemons

# What is waited for comes within this time, or not at all.
PATIENCE_SECONDS = 60

# What an image of MySQL does: a server for itself makes what the environment asks for, then one for all starts.
MYSQL = r"""
set -eu
install -d -o mysql /run/mysqld
mariadbd --user=mysql --skip-networking &
until mariadb --execute 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done
mariadb --execute "CREATE DATABASE $MYSQL_DATABASE; GRANT ALL ON $MYSQL_DATABASE.* TO '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD'"
mariadb-admin shutdown
wait
exec mariadbd --user=mysql --bind-address=0.0.0.0
"""

IMAGES = [
    (["busybox:latest"], "busybox.tar", {"Cmd": ["sh"], "Env": ["PATH=/bin"]}),
    (["nginx:1"], "nginx.tar", {"Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}}),
    (["redis:7"], "redis.tar", {
        "Cmd": ["redis-server", "--protected-mode", "no", "--bind", "0.0.0.0"], "ExposedPorts": {"6379/tcp": {}},
        "Volumes": {"/data": {}},
    }),
    (["mariadb:11"], "mariadb.tar", {
        "Cmd": ["sh", "-c", "install -d -o mysql /run/mysqld; exec mariadbd --user=mysql --bind-address=0.0.0.0"],
        "ExposedPorts": {"3306/tcp": {}}, "Volumes": {"/var/lib/mysql": {}},
    }),
    (["mysql:8"], "mariadb.tar", {
        "Entrypoint": ["sh", "-c", MYSQL], "ExposedPorts": {"3306/tcp": {}}, "Volumes": {"/var/lib/mysql": {}},
    }),
    (["tomcat:10"], "tomcat.tar", {
        "Cmd": ["/usr/share/tomcat10/bin/catalina.sh", "run"], "ExposedPorts": {"8080/tcp": {}},
        "Env": ["PATH=/usr/sbin:/usr/bin", "JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64", "CATALINA_BASE=/var/lib/tomcat10"],
    }),
]


class Host:
    """The daemon; started once."""

    def __init__(self):
        self.work = Path(tempfile.mkdtemp(prefix="corten-clients-"))
        atexit.register(self.stop)
        self.daemon = daemons.corten(self.work / "corten", shares_network=True)
        self.daemon.load(IMAGES, self.work)
        home = self.work / "home"
        plugins = home / ".docker/cli-plugins"
        plugins.mkdir(parents=True)
        for plugin in ("docker-compose", "docker-buildx"):
            (plugins / plugin).symlink_to(Path(os.environ["CORTEN_PEERS"]) / "bin" / plugin)
        os.environ.update({"DOCKER_HOST": f"unix://{self.daemon.socket}", "HOME": str(home)})

    def stop(self):
        if hasattr(self, "daemon"):
            self.daemon.stop()
        shutil.rmtree(self.work, ignore_errors=True)


class Case(unittest.TestCase):
    """A test with Corten; what it leaves fails it."""

    host = None

    def setUp(self):
        Case.host = Case.host or Host()
        self.folder = Path(tempfile.mkdtemp(dir=Case.host.work))

    def tearDown(self):
        left = {
            "containers": [one["Names"] for one in Case.host.daemon.ask("GET", "/containers/json?all=1")],
            "volumes": [one["Name"] for one in Case.host.daemon.ask("GET", "/volumes")["Volumes"] or []],
            "networks": [one["Name"] for one in Case.host.daemon.ask("GET", "/networks")],
        }
        Case.host.daemon.clean()
        self.assertEqual(left, {"containers": [], "volumes": [], "networks": ["bridge", "host", "none"]})

    def docker(self, *words, code=0, text="", **more):
        """Runs the docker client with a text as its input; what it prints."""
        done = subprocess.run(
            ["docker", *words], cwd=self.folder, input=text, capture_output=True, text=True,
            timeout=4 * PATIENCE_SECONDS, **more)
        self.assertEqual(done.returncode, code, f"docker {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout.strip() if code == 0 else done.stderr.strip()

    def until(self, what, condition):
        """Waits until the condition holds; a server that does not listen yet is no failure."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            seen = None
            try:
                seen = condition()
                if seen:
                    return
            except OSError as error:
                seen = error
            self.assertLess(time.monotonic(), deadline, f"waited in vain until {what}: {seen}")
            time.sleep(0.1)
