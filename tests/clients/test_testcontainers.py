"""testcontainers, as test suites use it."""

import urllib.request

import pymysql
import redis
from testcontainers.compose import DockerCompose
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs
from testcontainers.mysql import MySqlContainer
from testcontainers.nginx import NginxContainer
from testcontainers.redis import RedisContainer

from host import Case


class Testcontainers(Case):
    def test_a_generic_container_is_waited_for_and_reached(self):
        with DockerContainer("nginx:1").with_exposed_ports(80) as server:
            address = f"http://{server.get_container_host_ip()}:{server.get_exposed_port(80)}/"
            self.until("it serves", lambda: b"nginx" in urllib.request.urlopen(address, timeout=5).read())
            self.assertEqual(server.exec("echo hi").output, b"hi\n")

    def test_logs_are_waited_for(self):
        with DockerContainer("busybox").with_command("sh -c 'echo ready; sleep 1000'").with_env("A", "1") as container:
            wait_for_logs(container, "ready")
            self.assertIn(b"A=1", container.exec("env").output)

    def test_the_redis_module_works(self):
        with RedisContainer("redis:7") as server:
            client = server.get_client()
            client.set("key", "value")
            self.assertEqual(client.get("key"), b"value")
            self.assertIsInstance(client, redis.Redis)

    def test_the_mysql_module_works(self):
        with MySqlContainer("mysql:8", dialect="pymysql", username="me", password="secret", dbname="goods") as server:
            host, port = server.get_container_host_ip(), int(server.get_exposed_port(3306))
            self.assertEqual(server.get_connection_url(), f"mysql+pymysql://me:secret@{host}:{port}/goods")
            with pymysql.connect(host=host, port=port, user="me", password="secret", database="goods") as database:
                with database.cursor() as cursor:
                    cursor.execute("CREATE TABLE numbers (number INT)")
                    cursor.executemany("INSERT INTO numbers VALUES (%s)", [(number,) for number in range(100)])
                    cursor.execute("SELECT SUM(number) FROM numbers")
                    self.assertEqual(cursor.fetchone(), (4950,))

    def test_the_nginx_module_works_with_files_of_the_host(self):
        pages = self.folder / "pages"
        pages.mkdir()
        (pages / "index.html").write_text("a page of the host")
        with NginxContainer("nginx:1").with_volume_mapping(str(pages), "/var/www/html") as server:
            address = f"http://{server.get_container_host_ip()}:{server.get_exposed_port(80)}/"
            self.assertEqual(urllib.request.urlopen(address, timeout=5).read(), b"a page of the host")

    def test_a_container_that_ends_before_it_is_ready_is_told(self):
        with DockerContainer("busybox").with_command("sh -c 'echo almost; echo sorry >&2; exit 3'") as container:
            self.assertRaises((TimeoutError, RuntimeError), wait_for_logs, container, "ready", timeout=1, raise_on_exit=True)
            self.assertEqual(container.get_wrapped_container().wait()["StatusCode"], 3)
            self.assertEqual(container.get_logs(), (b"almost\n", b"sorry\n"))

    def test_containers_meet_in_a_network(self):
        with Network() as network:
            server = DockerContainer("redis:7").with_network(network).with_network_aliases("store")
            asks = DockerContainer("redis:7").with_network(network).with_command("sleep 1000")
            with server, asks:
                self.until("it answers", lambda: asks.exec("redis-cli -h store ping").output == b"PONG\n")

    def test_a_compose_file_is_brought_up(self):
        (self.folder / "compose.yaml").write_text("services: {web: {image: 'nginx:1', ports: ['80']}}")
        with DockerCompose(str(self.folder), compose_file_name="compose.yaml", pull=False) as stack:
            host, port = stack.get_service_host_and_port("web", 80)
            self.until("it serves", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).status == 200)
