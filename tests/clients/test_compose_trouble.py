"""docker compose when things go wrong: dependencies that fail, a daemon that is killed, two at once."""

import os
import random
import subprocess
import time

from host import PATIENCE_SECONDS, Case

# In this order they start, each when the one before is what it waits for.
CHAIN = """
x-quickly: &quickly {interval: 200ms, timeout: 20s, retries: 100}
services:
  last:
    image: busybox
    command: httpd -f -p 8080 -h /srv
    depends_on: {job: {condition: service_completed_successfully}, first: {condition: service_healthy}}
    networks: [one, two]
    volumes: ["data:/srv"]
  job:
    image: busybox
    command: sh -c 'wget -q -O /srv/copied http://first:8080/etc/passwd'
    depends_on: {first: {condition: service_healthy}}
    networks: [one]
    volumes: ["data:/srv"]
  first:
    image: busybox
    command: httpd -f -p 8080 -h /
    healthcheck: {<<: *quickly, test: wget -q -O /dev/null http://127.0.0.1:8080/etc/passwd}
    networks: [one]
networks: {one: {}, two: {internal: true}}
volumes: {data: {}}
"""


class Trouble(Case):
    def compose(self, *words, project="chain", **more):
        return self.docker("compose", "--project-name", project, *words, **more)

    def has(self, text):
        (self.folder / "compose.yaml").write_text(text)

    def states(self, project="chain"):
        lines = self.compose("ps", "--all", "--format", "{{.Service}} {{.State}} {{.ExitCode}}", project=project).splitlines()
        return sorted(lines)

    def down(self, project="chain"):
        self.compose("down", "--volumes", "--timeout", "0", project=project)

    def is_up(self, project="chain"):
        self.assertEqual(self.states(project), ["first running 0", "job exited 0", "last running 0"])
        fetched = ["exec", "-T", "last", "wget", "-q", "-O", "-", "http://last:8080/copied"]
        self.assertIn("root:x:0:0", self.compose(*fetched, project=project))

    def test_what_waits_for_an_unhealthy_service_is_not_started(self):
        self.has("""
services:
  web: {image: busybox, command: sleep 1000, depends_on: {db: {condition: service_healthy}}}
  db: {image: busybox, command: sleep 1000, healthcheck: {test: "false", interval: 100ms, retries: 2}}
""")
        message = self.compose("up", "--detach", code=1)
        self.assertIn("dependency failed to start: container chain-db-1 is unhealthy", message)
        self.assertEqual(self.states(), ["db running 0", "web created 0"])
        self.assertIn("container chain-db-1 is unhealthy", self.compose("up", "--detach", "--wait", "db", code=1))
        self.down()

    def test_what_waits_for_a_service_that_is_dead_or_failed_is_not_started(self):
        self.has("""
services:
  web: {image: busybox, command: sleep 1000, depends_on: {job: {condition: service_completed_successfully}}}
  job: {image: busybox, command: sh -c 'exit 3'}
  app: {image: busybox, command: sleep 1000, depends_on: {db: {condition: service_healthy}}}
  db: {image: busybox, command: sh -c 'sleep 0.5; exit 4', healthcheck: {test: "false", interval: 30s}}
""")
        self.assertIn('service "job" didn\'t complete successfully: exit 3', self.compose("up", "--detach", "web", code=1))
        self.assertIn("dependency failed to start: container chain-db-1 exited (4)", self.compose("up", "--detach", "app", code=1))
        self.assertEqual(self.states(), ["app created 0", "db exited 4", "job exited 3", "web created 0"])
        self.down()

    def test_up_in_the_foreground_ends_with_the_code_that_was_asked_for(self):
        self.has("""
services:
  test: {image: busybox, command: sh -c 'echo tested; exit 7', depends_on: [server]}
  server: {image: busybox, command: sh -c 'echo serving; exec sleep 1000', stop_grace_period: 0s}
""")
        done = subprocess.run(
            ["docker", "compose", "--project-name", "chain", "up", "--exit-code-from", "test"], cwd=self.folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertRegex(done.stdout, r"test-1 +\| tested\n")
        self.assertIn("test-1 exited with code 7", done.stdout)
        self.assertEqual(self.states(), ["server exited 137", "test exited 7"])
        self.down()

    def test_a_daemon_killed_in_the_middle_of_up_is_brought_up_again(self):
        self.has(CHAIN)
        seed = int(os.environ.get("CORTEN_TEST_SEED", time.time()))
        chance = random.Random(seed)
        begin = time.monotonic()
        self.compose("up", "--detach")
        whole = time.monotonic() - begin
        self.down()
        for number in range(25 if os.environ.get("CORTEN_TEST_FULL") == "1" else 4):
            with self.subTest(seed=seed, number=number):
                with self.background("chain") as up:
                    time.sleep(chance.uniform(0, whole))
                    self.host.daemon.kill()
                    up.communicate(timeout=PATIENCE_SECONDS)
                self.compose("up", "--detach")
                self.is_up()
                self.down()

    def test_two_projects_come_up_and_go_down_at_once(self):
        self.has(CHAIN)
        for words in (["up", "--detach"], ["down", "--volumes", "--timeout", "0"]):
            both = [self.background(name, *words) for name in ("chain", "other")]
            for one in both:
                _, said = one.communicate(timeout=PATIENCE_SECONDS)
                self.assertEqual(one.returncode, 0, said)
            if words[0] == "up":
                self.is_up("chain")
                self.is_up("other")

    def background(self, project, *words):
        return subprocess.Popen(
            ["docker", "compose", "--project-name", project, *(words or ["up", "--detach"])], cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
