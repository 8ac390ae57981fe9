"""docker compose with a shop of nginx, tomcat and mariadb, as people run one."""

import json
import os
import shutil
import subprocess
import urllib.request

from host import HERE, Case

PAGE = "http://127.0.0.1:8090/"


class Shop(Case):
    def setUp(self):
        super().setUp()
        shutil.copytree(HERE / "shop", self.folder, dirs_exist_ok=True)
        os.environ["SHOP_PASSWORD"] = "open $esame"
        self.addCleanup(os.environ.pop, "SHOP_PASSWORD")

    def compose(self, *words, **more):
        return self.docker("compose", *words, **more)

    def services(self):
        """What `ps` tells of each container, by its name without the project's."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {one["Name"].removeprefix("shop-"): one for one in map(json.loads, lines)}

    def states(self):
        return {name: one["Health"] or one["State"] for name, one in self.services().items()}

    def page(self):
        return urllib.request.urlopen(PAGE, timeout=20).read().decode().strip().splitlines()

    def shows(self, *lines):
        """Waits until the page is these lines and the name of who served it."""
        self.until(f"the page says {lines}", lambda: self.page()[:-1] == list(lines))

    def hosts(self, service):
        """The host names of a service's containers."""
        ids = self.compose("ps", "--quiet", service).split()
        return {self.docker("inspect", "--format", "{{.Config.Hostname}}", one) for one in ids}

    def test_a_shop_opens_lives_and_closes(self):
        with Events(self) as seen:
            self.compose("up", "--detach")
            self.opens()
            self.tells()
            self.sells_more()
            self.grows()
            self.is_looked_into()
            self.is_held_up()
        needed = {"db create", "db health_status: healthy", "goods die", "app start", "web pause", "web kill", "app destroy"}
        self.assertEqual(needed - seen, set())
        self.closes()

    def opens(self):
        running = {"web-1": "running", "app-1": "healthy", "db-1": "healthy", "goods-1": "exited"}
        self.assertEqual(self.states(), running)
        services = self.services()
        self.assertEqual(services["goods-1"]["ExitCode"], 0)
        self.assertEqual({(one["TargetPort"], one["PublishedPort"]) for one in services["web-1"]["Publishers"]}, {(80, 8090)})
        self.assertEqual(self.compose("port", "web", "80"), "0.0.0.0:8090")
        self.shows("Welcome to the shop", "buy apples", "buy bread")
        # Nothing is to be done any more.
        before = {name: one["ID"] for name, one in services.items()}
        self.compose("up", "--detach", "--wait")
        self.assertEqual({name: one["ID"] for name, one in self.services().items()}, before)

    def tells(self):
        self.assertIn("Server startup in", self.compose("logs", "app"))
        self.assertIn("ready for connections", self.compose("logs", "--no-log-prefix", "db"))
        line = self.compose("logs", "--tail", "1", "web")
        self.assertRegex(line, r'^web-1 +\| .*"GET / HTTP/1.1" 200')
        both = self.compose("logs", "--timestamps", "web", "app").splitlines()
        self.assertEqual({one.split()[0] for one in both}, {"web-1", "app-1"})

    def sells_more(self):
        # What is typed goes into the database.
        self.compose("exec", "-T", "db", "mariadb", "shop", text="INSERT INTO goods VALUES ('cheese');")
        self.shows("Welcome to the shop", "buy apples", "buy bread", "buy cheese")
        sql = """exec mariadb -N -h db -u shop --password="$(cat /run/secrets/password)" -e 'SELECT COUNT(*) FROM goods' shop"""
        self.assertEqual(self.compose("run", "--rm", "-T", "--no-deps", "goods", "sh", "-c", sql), "3")
        self.compose("run", "--rm", "-T", "--no-deps", "goods", "sh", "-c", "exit 5", code=5)
        # The front does not see the back, and the back not the world.
        self.assertIn("shop", self.compose("exec", "-T", "web", "getent", "hosts", "shop"))
        self.compose("exec", "-T", "web", "getent", "hosts", "db", code=2)
        self.assertEqual(self.compose("exec", "-T", "--user", "tomcat", "app", "id", "--user", "--name"), "tomcat")

    def grows(self):
        self.compose("up", "--detach", "--no-recreate", "--scale", "app=2")
        self.until("the second is healthy", lambda: self.states()["app-2"] == "healthy")
        both = {f"served by {name}" for name in self.hosts("app")}
        self.assertEqual(len(both), 2)
        served = set()
        self.until("both have served", lambda: served.add(self.page()[-1]) or served == both)
        self.compose("up", "--detach", "--no-recreate", "--scale", "app=1")
        self.assertNotIn("app-2", self.services())
        only = {f"served by {name}" for name in self.hosts("app")}
        self.until("one serves", lambda: self.page()[-1] in only)

    def is_looked_into(self):
        self.compose("cp", "web:/etc/nginx/nginx.conf", "copied")
        self.assertIn("http {", (self.folder / "copied").read_text())
        (self.folder / "sent").write_text("sent")
        self.compose("cp", "sent", "app:/var/lib/tomcat10/sent")
        self.assertEqual(self.compose("exec", "-T", "app", "cat", "/var/lib/tomcat10/sent"), "sent")
        top = self.compose("top")
        self.assertTrue("mariadbd" in top and "org.apache.catalina.startup.Bootstrap" in top and "nginx: master" in top, top)
        self.assertEqual(self.compose("top", "db").splitlines()[0].split()[:3], ["SERVICE", "#", "UID"])
        images = {one["Repository"] for one in json.loads(self.compose("images", "--format", "json"))}
        self.assertEqual(images, {"nginx", "tomcat", "mariadb"})
        stats = [json.loads(one) for one in self.compose("stats", "--no-stream", "--format", "json").splitlines()]
        limits = {one["Name"]: one["MemUsage"].split(" / ")[1] for one in stats}
        self.assertEqual((set(limits), limits["shop-app-1"]), ({"shop-web-1", "shop-app-1", "shop-db-1"}, "512MiB"))

    def is_held_up(self):
        self.compose("pause", "web")
        self.assertEqual(self.states()["web-1"], "paused")
        self.assertRaises(OSError, urllib.request.urlopen, PAGE, timeout=1)
        self.compose("unpause", "web")
        self.shows("Welcome to the shop", "buy apples", "buy bread", "buy cheese")
        started = self.docker("inspect", "--format", "{{.State.StartedAt}}", "shop-web-1")
        self.compose("restart", "web")
        self.assertNotEqual(self.docker("inspect", "--format", "{{.State.StartedAt}}", "shop-web-1"), started)
        # Killed by hand, it stays so; dead by itself, it comes again.
        self.compose("kill", "web")
        self.assertEqual((self.states()["web-1"], self.services()["web-1"]["ExitCode"]), ("exited", 137))
        self.compose("start", "web")
        self.compose("exec", "-T", "web", "sh", "-c", "kill -QUIT 1")
        self.shows("Welcome to the shop", "buy apples", "buy bread", "buy cheese")
        self.assertEqual(self.docker("inspect", "--format", "{{.RestartCount}}", "shop-web-1"), "1")

    def closes(self):
        self.compose("down")
        self.assertEqual(self.docker("volume", "ls", "--format", "{{.Name}}", "--filter", "label=kept=yes"), "shop_db")
        os.environ["SHOP"] = "a kept shop"
        self.addCleanup(os.environ.pop, "SHOP")
        self.compose("up", "--detach", "--quiet-pull")
        self.shows("Welcome to a kept shop", "buy apples", "buy bread", "buy cheese")
        self.compose("down", "--volumes")


class Events(set):
    """What `compose events` tells, each as `service action`."""

    def __init__(self, case):
        super().__init__()
        self.file = case.folder / "events"
        with open(self.file, "w") as file:
            self.process = subprocess.Popen(["docker", "compose", "events", "--json"], cwd=case.folder, stdout=file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        for event in map(json.loads, self.file.read_text().splitlines()):
            self.add(f"{event['service']} {event['action']}")
