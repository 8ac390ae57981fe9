"""docker-py, as its own documentation uses it."""

import threading

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.types import Mount

from host import Case


class Sdk(Case):
    def setUp(self):
        super().setUp()
        self.client = docker.from_env()
        self.addCleanup(self.client.close)

    def running(self, *command, **more):
        """A container that runs."""
        return self.client.containers.run("busybox", list(command), detach=True, **more)

    def test_run_returns_what_was_printed(self):
        self.assertEqual(self.client.containers.run("busybox", "echo hello world", remove=True), b"hello world\n")
        both = self.client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True, stderr=True)
        self.assertEqual(sorted(both.splitlines()), [b"err", b"out"])

    def test_errors_have_their_classes(self):
        with self.assertRaises(ContainerError) as caught:
            self.client.containers.run("busybox", ["sh", "-c", "echo why >&2; exit 3"], remove=True)
        self.assertEqual((caught.exception.exit_status, caught.exception.stderr), (3, b"why\n"))
        self.assertRaises(ImageNotFound, self.client.images.get, "nosuch:1")
        self.assertRaises(NotFound, self.client.containers.get, "nosuch")
        self.assertRaises(NotFound, self.client.networks.get, "nosuch")
        self.assertRaises(NotFound, self.client.volumes.get, "nosuch")
        with self.assertRaises(APIError) as caught:
            self.client.containers.create("busybox", "true", name="bad name")
        self.assertEqual(caught.exception.status_code, 400)
        self.assertTrue(caught.exception.is_client_error())

    def test_a_container_lives_and_is_watched(self):
        container = self.running("sh", "-c", "for i in 1 2 3; do echo $i; done; sleep 1000", name="life", labels={"a": "b"})
        self.assertEqual(container.status, "created")
        container.reload()
        self.assertEqual((container.status, container.name, container.labels), ("running", "life", {"a": "b"}))
        stream = container.logs(stream=True, follow=True)
        self.assertEqual([next(stream) for _ in range(3)], [b"1\n", b"2\n", b"3\n"])
        stream.close()
        self.assertEqual([one.name for one in self.client.containers.list(filters={"label": "a=b"})], ["life"])
        container.pause()
        container.unpause()
        container.rename("lived")
        container.restart(timeout=0)
        container.stop(timeout=0)
        self.assertEqual(container.wait()["StatusCode"], 137)
        container.remove()

    def test_execs_stream_and_tell_their_exit(self):
        container = self.running("sleep", "1000")
        code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
        self.assertEqual((code, out, err), (4, b"out\n", b"err\n"))
        code, chunks = container.exec_run(["sh", "-c", "echo a; sleep 0.2; echo b"], stream=True)
        self.assertEqual((code, b"".join(chunks)), (None, b"a\nb\n"))
        self.assertEqual(container.exec_run("id -u", user="www").output, b"33\n")
        self.assertEqual(container.exec_run("pwd", workdir="/tmp", environment={"A": "1"}, tty=True).output, b"/tmp\r\n")
        container.remove(force=True)

    def test_a_socket_reaches_standard_input(self):
        container = self.client.containers.create("busybox", "cat", stdin_open=True, tty=True)
        socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        socket._sock.sendall(b"typed\n")
        seen = b""
        while seen.count(b"typed") < 2:
            seen += socket._sock.recv(4096)
        socket.close()
        container.remove(force=True)

    def test_networks_connect_by_name(self):
        network = self.client.networks.create("net", driver="bridge", labels={"k": "v"})
        server = self.running("sleep", "1000", name="server", network="net")
        found = self.client.containers.run("busybox", "ping -c 1 server", network="net", remove=True)
        self.assertIn(b"1 packets received", found)
        network.reload()
        self.assertEqual([one.name for one in network.containers], ["server"])
        network.disconnect(server)
        network.connect(server, aliases=["other"])
        self.assertIn(b"1 packets", self.client.containers.run("busybox", "ping -c 1 other", network="net", remove=True))
        self.assertRaises(APIError, network.remove)
        server.remove(force=True)
        network.remove()

    def test_volumes_and_binds_are_mounted(self):
        volume = self.client.volumes.create("kept", labels={"k": "v"})
        run = self.client.containers.run
        run("busybox", ["sh", "-c", "echo words >/data/file"], volumes={"kept": {"bind": "/data", "mode": "rw"}}, remove=True)
        self.assertEqual(run("busybox", "cat /data/file", mounts=[Mount("/data", "kept", read_only=True)], remove=True), b"words\n")
        (self.folder / "file").write_text("host")
        self.assertEqual(run("busybox", "cat /in/file", volumes=[f"{self.folder}:/in:ro"], remove=True), b"host")
        self.assertEqual(self.client.volumes.list(filters={"label": "k=v"}), [volume])
        volume.remove()

    def test_images_are_tagged_listed_and_removed(self):
        image = self.client.images.get("busybox")
        self.assertTrue(image.tag("mine", "1"))
        self.assertIn("mine:1", [tag for one in self.client.images.list(name="mine") for tag in one.tags])
        self.client.images.remove("mine:1")
        self.assertRaises(ImageNotFound, self.client.images.get, "mine:1")

    def test_events_tell_a_life(self):
        events = self.client.events(decode=True, filters={"type": "container"})
        seen = []
        watcher = threading.Thread(target=lambda: [seen.append(one["Action"]) for one in events])
        watcher.start()
        self.client.containers.run("busybox", "true", remove=True)
        self.until("the end was seen", lambda: "destroy" in seen)
        events.close()
        watcher.join()
        self.assertEqual([one for one in seen if one in ("create", "start", "die", "destroy")], ["create", "start", "die", "destroy"])

    def test_the_daemon_says_what_it_is(self):
        self.assertTrue(self.client.ping())
        self.assertEqual(self.client.version()["Os"], "linux")
        self.assertEqual(self.client.info()["OSType"], "linux")
