//! Tables: what a request becomes, and what is refused.

use super::*;

fn parse(json: &str) -> Result<(ContainerSpec, Vec<String>), Failure> {
    spec(serde_json::from_str(json).expect("a request"))
}

#[test]
fn no_network_is_said_aloud_and_others_are_refused() {
    let (spec, warnings) = parse(r#"{"Image":"x","HostConfig":{"NetworkMode":"default"}}"#).unwrap();
    assert_eq!((spec.network, warnings.len()), (NetworkMode::None, 1));
    let (spec, warnings) = parse(r#"{"Image":"x","HostConfig":{"NetworkMode":"container:a"}}"#).unwrap();
    assert_eq!((spec.network, warnings.len()), (NetworkMode::Container("a".into()), 0));
    for mode in ["bridge", "my-net"] {
        let failure = parse(&format!(r#"{{"HostConfig":{{"NetworkMode":"{mode}"}}}}"#)).unwrap_err();
        assert!(failure.message.contains("not there yet"), "{}", failure.message);
    }
}

#[test]
fn binds_have_docker_s_grammar() {
    let bind_of = |source: &str, readonly, propagation| {
        MountSpec::Bind(BindMount {
            source: source.into(),
            target: "/t".into(),
            readonly,
            create_source: true,
            propagation,
            non_recursive: false,
        })
    };
    assert_eq!(bind("/s:/t").unwrap(), bind_of("/s", false, Propagation::Rprivate));
    assert_eq!(bind("/s:/t:ro,rslave").unwrap(), bind_of("/s", true, Propagation::Rslave));
    let volume =
        VolumeMount { name: "v".into(), target: "/t".into(), no_copy: true, ..VolumeMount::default() };
    assert_eq!(bind("v:/t:nocopy").unwrap(), MountSpec::Volume(volume));
    for wrong in ["", "/t", ":/t", "/s:t", "/s:/t:x", "/s:/t:ro:x", "v:/t:rslave", "/s:/t:nocopy"] {
        assert!(bind(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_set_and_not_built_is_refused() {
    let cases = [
        r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"80"}]}}}"#,
        r#"{"HostConfig":{"PublishAllPorts":true}}"#,
        r#"{"HostConfig":{"Dns":["1.1.1.1"]}}"#,
        r#"{"HostConfig":{"Init":true}}"#,
        r#"{"HostConfig":{"UsernsMode":"host"}}"#,
        r#"{"HostConfig":{"CgroupParent":"/x"}}"#,
        r#"{"HostConfig":{"Runtime":"kata"}}"#,
        r#"{"HostConfig":{"LogConfig":{"Type":"syslog"}}}"#,
        r#"{"HostConfig":{"DeviceRequests":[{"Count":-1}]}}"#,
        r#"{"HostConfig":{"Mounts":[{"Type":"image","Target":"/x"}]}}"#,
        r#"{"Healthcheck":{"Test":["CMD","true"]}}"#,
        r#"{"NetworkingConfig":{"EndpointsConfig":{"net":{}}}}"#,
    ];
    for case in cases {
        let failure = parse(case).expect_err(case);
        assert_eq!(failure.status.as_u16(), 501, "{case}: {}", failure.message);
    }
}

#[test]
fn wrong_values_are_bad_requests() {
    let cases = [
        r#"{"HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}"#,
        r#"{"HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":3}}}"#,
        r#"{"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-1}}}"#,
        r#"{"HostConfig":{"SecurityOpt":["nonsense=1"]}}"#,
        r#"{"HostConfig":{"PidMode":"x"}}"#,
        r#"{"HostConfig":{"IpcMode":"container:"}}"#,
        r#"{"HostConfig":{"OomScoreAdj":2000}}"#,
        r#"{"HostConfig":{"ShmSize":-1}}"#,
        r#"{"HostConfig":{"LogConfig":{"Config":{"max-size":"x"}}}}"#,
        r#"{"HostConfig":{"LogConfig":{"Config":{"max-file":"0"}}}}"#,
        r#"{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/a","Target":"b"}]}}"#,
        r#"{"HostConfig":{"ConsoleSize":[70000,1]}}"#,
    ];
    for case in cases {
        assert_eq!(parse(case).expect_err(case).status.as_u16(), 400, "{case}");
    }
}

#[test]
fn security_options_are_translated() {
    let json = r#"{"HostConfig":{"SecurityOpt":["no-new-privileges","seccomp=unconfined"],"MaskedPaths":[],"ReadonlyPaths":[]}}"#;
    let (spec, _) = parse(json).unwrap();
    assert!(spec.no_new_privileges && spec.unconfined_system_paths);
    assert_eq!(spec.seccomp, SeccompMode::Unconfined);
}

#[test]
fn sizes_of_logs_have_units() {
    assert_eq!(bytes("200k"), Some(200 << 10));
    assert_eq!(bytes("10MB"), Some(10 << 20));
    assert_eq!(bytes("-1"), Some(0));
    for wrong in ["", "k", "0", "-2", "1.5m", "99999999999g"] {
        assert_eq!(bytes(wrong), None, "{wrong}");
    }
}
