"""docker-py, as its own documentation uses it."""

import io
import tarfile
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

    def test_the_readme_of_the_sdk_is_true(self):
        client = self.client
        self.assertEqual(client.containers.run("busybox:latest", "echo hello world"), b"hello world\n")
        container = client.containers.run("busybox:latest", "sh -c 'echo Reticulating spline 1...; exec sleep 1000'", detach=True)
        self.assertIn(container, client.containers.list())
        self.assertEqual(client.containers.get(container.id[:12]), container)
        self.assertEqual(container.attrs["Config"]["Image"], "busybox:latest")
        lines = (line.strip() for line in container.logs(stream=True))
        self.assertEqual(next(lines), b"Reticulating spline 1...")
        self.assertEqual(container.logs(), b"Reticulating spline 1...\n")
        container.kill()
        self.assertIn("busybox:latest", [tag for image in client.images.list() for tag in image.tags])
        self.assertEqual(len(client.containers.prune()["ContainersDeleted"]), 2)

    def test_files_go_in_and_come_out(self):
        container = self.running("sleep", "1000")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo("file")
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b"words"))
        self.assertTrue(container.put_archive("/tmp", packed.getvalue()))
        self.assertEqual(container.exec_run("cat /tmp/file").output, b"words")
        chunks, stat = container.get_archive("/tmp/file")
        self.assertEqual((stat["name"], stat["size"]), ("file", 5))
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            self.assertEqual(tar.extractfile("file").read(), b"words")
        self.assertRaises(NotFound, container.get_archive, "/nosuch")
        self.assertIn({"Path": "/tmp/file", "Kind": 1}, container.diff())
        container.remove(force=True)

    def test_images_are_made_saved_and_loaded(self):
        container = self.running("sh", "-c", "echo made >/made; exec sleep 1000")
        self.until("it is written", lambda: container.exec_run("cat /made").exit_code == 0)
        image = container.commit("mine", "2", changes="CMD cat /made")
        self.assertEqual(image.attrs["Config"]["Cmd"], ["/bin/sh", "-c", "cat /made"])
        self.assertEqual(self.client.containers.run("mine:2", remove=True), b"made\n")
        saved = b"".join(image.save(named=True))
        container.remove(force=True)
        self.client.images.remove("mine:2")
        (loaded,) = self.client.images.load(saved)
        self.assertEqual((loaded.id, loaded.tags), (image.id, ["mine:2"]))
        self.client.images.remove("mine:2")

    def test_a_container_is_measured_limited_and_checked(self):
        check = {"test": ["CMD", "true"], "interval": 100_000_000, "retries": 3}
        container = self.running("sleep", "1000", mem_limit="64m", nano_cpus=500_000_000, healthcheck=check)
        self.assertEqual(container.stats(stream=False)["memory_stats"]["limit"], 64 << 20)
        self.assertEqual(next(container.stats(decode=True))["id"], container.id)
        self.assertIn("sleep 1000", [row[-1] for row in container.top()["Processes"]])
        container.update(mem_limit="128m", memswap_limit="256m")
        container.reload()
        self.assertEqual(container.attrs["HostConfig"]["Memory"], 128 << 20)
        self.until("it is healthy", lambda: container.reload() or container.health == "healthy")
        container.remove(force=True)

    def test_the_low_level_client_does_the_same(self):
        low = self.client.api
        host = low.create_host_config(port_bindings={80: ("127.0.0.1", None)}, binds=[f"{self.folder}:/in"], restart_policy={"Name": "always"})
        made = low.create_container("busybox", ["httpd", "-f"], ports=[80], host_config=host, volumes=["/in"], name="low")
        low.start(made)
        self.assertEqual([one["HostIp"] for one in low.port(made, 80)], ["127.0.0.1"])
        run = low.exec_create(made, ["sh", "-c", "echo $0; exit 2"])
        self.assertEqual((low.exec_start(run), low.exec_inspect(run)["ExitCode"]), (b"sh\n", 2))
        self.assertEqual(low.inspect_container("low")["HostConfig"]["RestartPolicy"]["Name"], "always")
        self.assertEqual([one["Names"] for one in low.df()["Containers"]], [["/low"]])
        low.stop(made, timeout=0)
        low.remove_container(made)

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
