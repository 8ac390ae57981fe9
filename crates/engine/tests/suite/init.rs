//! `--init`: who is the first process, what it passes on, and whom it reaps.

use engine::containers::{ContainerSpec, LogOptions, WaitCondition};

use crate::host::with_host;

fn init(spec: &mut ContainerSpec) {
    spec.init = true;
}

#[test]
fn an_init_ends_as_its_program_does() {
    with_host(async |host| {
        let (text, exit) = host.output("cat /proc/1/comm; exit 42", init).await;
        assert_eq!((text.as_str(), exit.code), ("docker-init\n", 42));
        let (_, exit) = host.output("kill -9 $$", init).await;
        assert_eq!(exit.code, 137);
        let nothing = |spec: &mut ContainerSpec| {
            (spec.init, spec.command) = (true, Some(vec!["nothing-like-this".into()]))
        };
        let (text, exit) = host.output("", nothing).await;
        assert!(exit.code == 127 && text.contains("nothing-like-this"), "{text} {exit:?}");
        let data =
            |spec: &mut ContainerSpec| (spec.init, spec.command) = (true, Some(vec!["/etc/passwd".into()]));
        assert_eq!(host.output("", data).await.1.code, 126);
        let script = "stty echo && echo foreground";
        let id = host.create_with("tty", script, |spec| (spec.init, spec.terminal) = (true, true)).await;
        host.engine().containers().start(&id).await.unwrap();
        assert_eq!(host.wait(&id, WaitCondition::NotRunning).await.code, 0);
        let options = LogOptions { stdout: true, ..LogOptions::default() };
        let mut log = host.engine().containers().logs(&id, options).await.unwrap();
        assert_eq!(log.next().await.unwrap().unwrap().bytes, *b"foreground\r\n");
    });
}

#[test]
fn an_init_passes_signals_on_and_reaps_orphans() {
    with_host(async |host| {
        let containers = host.engine().containers();
        // Orphans: their parents have ended.
        let script = "(sleep 0.01 &); (sleep 0.01 &); trap 'exit 7' TERM; echo; while :; do sleep 0.02; done";
        let id = host.create_with("one", script, init).await;
        containers.start(&id).await.unwrap();
        host.until("the trap is set", async || {
            let options = LogOptions { stdout: true, ..LogOptions::default() };
            containers.logs(&id, options).await.unwrap().next().await.is_some()
        })
        .await;
        let is_undead = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("State:\tZ") && status.contains("Name:\tsleep")
        };
        host.until("nobody is undead", async || {
            !containers.processes(&id).await.unwrap().iter().any(is_undead)
        })
        .await;
        assert!(containers.stop(&id, Some(30), None).await.unwrap());
        assert_eq!(host.wait(&id, WaitCondition::NotRunning).await.code, 7);
    });
}
