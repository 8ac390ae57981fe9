"""docker compose with stacks of three services."""

import json
import urllib.request

from host import Case

STACK = """
services:
  web:
    image: nginx:1
    ports: ["8088:80"]
    depends_on: {cache: {condition: service_started}, db: {condition: service_started}}
    networks: [front, back]
    volumes: ["pages:/var/www/html", "./extra:/extra:ro"]
  cache:
    image: redis:7
    environment: {LEVEL: info}
    networks: {back: {aliases: [store]}}
    volumes: ["data:/data"]
  db:
    image: mariadb:11
    networks: [back]
    stop_grace_period: 2s
networks:
  front: {}
  back: {internal: true, labels: {tier: back}}
volumes:
  pages: {}
  data: {labels: {kept: "yes"}}
"""


class Compose(Case):
    def setUp(self):
        super().setUp()
        (self.folder / "compose.yaml").write_text(STACK)
        (self.folder / "extra").mkdir()

    def compose(self, *words, **more):
        return self.docker("compose", "--project-name", "stack", *words, **more)

    def states(self):
        lines = self.compose("ps", "--all", "--format", "{{.Name}} {{.State}}").splitlines()
        return dict(line.split() for line in lines)

    def test_a_stack_comes_up_serves_and_goes_away(self):
        self.compose("up", "--detach")
        self.assertEqual(self.states(), {f"stack-{name}-1": "running" for name in ("web", "cache", "db")})
        page = lambda: urllib.request.urlopen("http://127.0.0.1:8088/", timeout=5).read()
        self.until("the page is served", lambda: b"nginx" in page())
        self.assertEqual(self.compose("exec", "-T", "cache", "redis-cli", "ping"), "PONG")
        self.assertEqual(self.compose("port", "web", "80"), "0.0.0.0:8088")
        self.until("the server has said so", lambda: "Ready to accept" in self.compose("logs", "cache"))
        # Names and aliases are known across the shared network.
        self.assertIn("store", self.compose("exec", "-T", "web", "getent", "hosts", "store"))
        self.until("the database answers", lambda: self.database_answers())
        self.compose("down", "--volumes")

    def database_answers(self):
        words = ["exec", "stack-db-1", "mariadb", "--execute", "select 6 * 7"]
        try:
            return "42" in self.docker(*words)
        except AssertionError:
            return False

    def test_services_scale_stop_start_and_pause(self):
        self.compose("up", "--detach", "--scale", "cache=3", "cache")
        self.assertEqual(self.states(), {f"stack-cache-{number}": "running" for number in (1, 2, 3)})
        self.compose("stop", "--timeout", "1", "cache")
        self.assertEqual(set(self.states().values()), {"exited"})
        self.compose("start", "cache")
        self.compose("pause", "cache")
        self.assertEqual(set(self.states().values()), {"paused"})
        self.compose("unpause", "cache")
        self.compose("restart", "--timeout", "1", "cache")
        self.compose("kill", "cache")
        self.assertEqual(set(self.states().values()), {"exited"})
        self.compose("up", "--detach", "--scale", "cache=1", "cache")
        self.assertEqual(self.states(), {"stack-cache-1": "running"})
        self.compose("down", "--volumes", "--timeout", "1")

    def test_what_changed_is_made_again_and_volumes_are_kept(self):
        self.compose("up", "--detach", "cache")
        self.compose("exec", "-T", "cache", "sh", "-c", "echo kept >/data/file")
        before = self.docker("inspect", "--format", "{{.Id}}", "stack-cache-1")
        self.compose("up", "--detach", "cache")
        self.assertEqual(self.docker("inspect", "--format", "{{.Id}}", "stack-cache-1"), before)
        (self.folder / "compose.yaml").write_text(STACK.replace("LEVEL: info", "LEVEL: debug"))
        self.compose("up", "--detach", "cache")
        self.assertNotEqual(self.docker("inspect", "--format", "{{.Id}}", "stack-cache-1"), before)
        self.assertEqual(self.compose("exec", "-T", "cache", "cat", "/data/file"), "kept")
        self.compose("down")
        self.assertEqual(self.docker("volume", "ls", "--quiet", "--filter", "label=kept=yes"), "stack_data")
        self.docker("volume", "rm", "stack_data")
        self.docker("volume", "prune", "--force", "--all")

    def test_one_off_containers_run_in_the_stacks_networks(self):
        self.compose("up", "--detach", "cache")
        answer = lambda: self.compose("run", "--rm", "-T", "cache", "redis-cli", "-h", "store", "ping")
        self.assertEqual(answer(), "PONG")
        self.compose("run", "--rm", "-T", "cache", "sh", "-c", "exit 3", code=3)
        self.compose("down", "--volumes")

    def test_two_projects_do_not_meet(self):
        other = ["compose", "--project-name", "other"]
        self.compose("up", "--detach", "cache")
        self.docker(*other, "up", "--detach", "cache")
        projects = json.loads(self.docker("compose", "ls", "--format", "json"))
        self.assertEqual({one["Name"]: one["Status"] for one in projects}, {"stack": "running(1)", "other": "running(1)"})
        self.docker(*other, "down", "--volumes")
        self.assertEqual(self.states(), {"stack-cache-1": "running"})
        self.compose("down", "--volumes")

    def test_a_port_that_is_taken_is_told(self):
        self.docker("run", "--detach", "--name", "holder", "--publish", "8088:80", "nginx:1")
        message = self.compose("up", "--detach", "--no-deps", "web", code=1)
        self.assertIn("port is already allocated", message)
        self.compose("down", "--volumes")
        self.docker("rm", "--force", "--volumes", "holder")
