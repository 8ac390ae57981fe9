//! Health checks: what they show, that they end, and when they are made.

use std::sync::Arc;

use engine::containers::spec::HealthCheckSpec;
use engine::containers::{ContainerSpec, Health, HealthStatus, WaitCondition};
use engine::events::EventFilter;
use engine::execs::ExecSpec;

use crate::host::{Host, with_host};

const MILLISECOND: i64 = 1_000_000;

/// Probes that come fast, of which one decides.
fn checked(line: &str) -> impl FnOnce(&mut ContainerSpec) {
    let check = HealthCheckSpec {
        test: ["CMD-SHELL", line].map(str::to_owned).into(),
        interval_ns: 20 * MILLISECOND,
        retries: 1,
        ..HealthCheckSpec::default()
    };
    move |spec| spec.health_check = Some(check)
}

async fn run(host: &Host, name: &str, change: impl FnOnce(&mut ContainerSpec)) -> String {
    let id = host.create_with(name, "while :; do sleep 1; done", change).await;
    host.engine().containers().start(&id).await.unwrap();
    id
}

async fn health(host: &Host, container: &str) -> Arc<Health> {
    host.engine().containers().inspect(container).await.unwrap().state.health.unwrap()
}

async fn until_status(host: &Host, container: &str, status: HealthStatus) {
    host.until(status.as_str(), async || health(host, container).await.status == status).await;
}

async fn shell_in(host: &Host, container: &str, line: &str) {
    let execs = host.engine().execs();
    let args = ["sh", "-c", line].map(str::to_owned).into();
    let exec = execs.create(container, ExecSpec { args, ..ExecSpec::default() }).await.unwrap();
    execs.start_detached(&exec).await.unwrap();
    host.until("the exec has ended", async || execs.inspect(&exec).await.unwrap().exit_code.is_some()).await;
}

#[test]
fn a_container_is_healthy_as_long_as_its_check_says_so() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let mut events = host.engine().events(None, None, EventFilter::default());
        run(host, "web", checked("cat /well || { echo oh no >&2; exit 3; }")).await;
        until_status(host, "web", HealthStatus::Unhealthy).await;
        let probe = health(host, "web").await.log.last().unwrap().clone();
        assert_eq!(probe.exit_code, 3);
        assert!(probe.output.ends_with("oh no\n"), "{}", probe.output);
        assert!(probe.start_ns < probe.end_ns);
        shell_in(host, "web", "echo fine > /well").await;
        until_status(host, "web", HealthStatus::Healthy).await;
        let now = health(host, "web").await;
        assert_eq!((now.failing_streak, now.log.last().unwrap().output.as_str()), (0, "fine\n"));
        host.until("there have been many", async || health(host, "web").await.log.len() == 5).await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|action| action != "health_status: healthy") {
            seen.push(events.next().await.unwrap().action);
        }
        let seen = |action: &str| seen.iter().any(|seen| seen == action);
        assert!(seen("health_status: unhealthy"));
        assert!(seen("exec_create: /bin/sh -c cat /well || { echo oh no >&2; exit 3; }"));
        assert!(seen("exec_die"));
        containers.stop("web", Some(0), None).await.unwrap();
        assert_eq!(health(host, "web").await.status, HealthStatus::Unhealthy, "as in Docker");
        containers.start("web").await.unwrap();
        until_status(host, "web", HealthStatus::Healthy).await;
    });
}

#[test]
fn a_check_that_takes_too_long_is_killed_with_all_that_it_started() {
    with_host(async |host| {
        let containers = host.engine().containers();
        let id = run(host, "slow", |spec| {
            checked("echo asked; sleep 1000 & setsid sleep 1000 & sleep 1000")(spec);
            spec.health_check.as_mut().unwrap().timeout_ns = 50 * MILLISECOND;
        })
        .await;
        until_status(host, "slow", HealthStatus::Unhealthy).await;
        let probe = health(host, "slow").await.log[0].clone();
        assert_eq!(probe.exit_code, -1);
        assert_eq!(probe.output, "Health check exceeded timeout (50ms): asked\n");
        host.until("there have been some", async || health(host, "slow").await.log.len() > 3).await;
        // Those of one check at most, the container's own two, and what its loop starts and ends just now.
        let running = containers.processes(&id).await.unwrap();
        assert!(running.len() <= 8, "{running:?}");
        assert!(containers.inspect(&id).await.unwrap().exec_ids.len() <= 1);
        let nothing = run(host, "missing", |spec| {
            checked("")(spec);
            spec.health_check.as_mut().unwrap().test = ["CMD", "/not/there"].map(str::to_owned).into();
        })
        .await;
        until_status(host, &nothing, HealthStatus::Unhealthy).await;
        let probe = health(host, &nothing).await.log[0].clone();
        assert!(probe.exit_code == -1 && probe.output.contains("/not/there"), "{probe:?}");
    });
}

#[test]
fn who_is_paused_is_not_asked() {
    with_host(async |host| {
        let containers = host.engine().containers();
        run(host, "web", checked("true")).await;
        until_status(host, "web", HealthStatus::Healthy).await;
        containers.pause("web").await.unwrap();
        let before = health(host, "web").await;
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(health(host, "web").await, before);
        containers.unpause("web").await.unwrap();
        host.until("it is asked again", async || health(host, "web").await != before).await;
        assert_eq!(health(host, "web").await.status, HealthStatus::Healthy);
    });
}

#[test]
fn an_engine_that_is_killed_is_followed_by_one_that_knows_the_health_and_goes_on_asking() {
    let mut host = Host::new();
    host.phase(async |host| {
        run(host, "well", checked("true")).await;
        run(host, "hangs", |spec| {
            checked("sleep 1000")(spec);
            spec.health_check.as_mut().unwrap().timeout_ns = 300 * MILLISECOND;
        })
        .await;
        until_status(host, "well", HealthStatus::Healthy).await;
        host.until("it is asked", async || {
            host.engine().containers().inspect("hangs").await.unwrap().exec_ids.len() == 1
        })
        .await;
        host.until("the state is stored", async || {
            let rows = std::fs::read(host.root().join("metadata.db-wal")).unwrap_or_default();
            rows.windows(9).any(|window| window == b"\"healthy\"")
        })
        .await;
    });
    host.phase(async |host| {
        let before = health(host, "well").await;
        assert_eq!(before.status, HealthStatus::Healthy);
        host.until("it is asked again", async || health(host, "well").await.log != before.log).await;
        until_status(host, "hangs", HealthStatus::Unhealthy).await;
        let containers = host.engine().containers();
        host.until("the check of the engine that was killed is gone", async || {
            containers.processes("hangs").await.unwrap().len() <= 4
        })
        .await;
        containers.kill("well", "KILL").await.unwrap();
        host.wait("well", WaitCondition::NotRunning).await;
    });
    host.finish();
}
