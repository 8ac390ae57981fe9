//! Profile documents: Docker's format, whose rules may depend on the machine and on the container's capabilities,
//! and the plain format of the OCI specification, which is a subset of it.

use oci::runtime_spec::{Seccomp, SeccompArg, SeccompRule};
use serde::{Deserialize, Deserializer};

use super::{Error, Result};

/// Docker's own profile has 17 kB; a document of this size cannot be compiled into a program that the kernel takes.
pub(super) const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The machine's architecture, as Docker's conditions and as libseccomp name it.
#[cfg(target_arch = "x86_64")]
const HERE: (&str, &str) = ("amd64", "SCMP_ARCH_X86_64");
#[cfg(target_arch = "aarch64")]
const HERE: (&str, &str) = ("arm64", "SCMP_ARCH_AARCH64");

/// Reads a profile for a process whose bounding set is `capabilities` (`CAP_…`) on this machine and kernel.
pub fn parse_profile(json: &str, capabilities: &[String]) -> Result<Seccomp> {
    let release = rustix::system::uname();
    let kernel = kernel_version(&release.release().to_string_lossy());
    parse_for(json, capabilities, kernel)
}

fn parse_for(json: &str, capabilities: &[String], kernel: (u64, u64)) -> Result<Seccomp> {
    if json.len() > MAX_DOCUMENT_BYTES {
        return Err(Error::TooLong { bytes: json.len() });
    }
    let document: Document = serde_json::from_str(json).map_err(|source| Error::Document { source })?;
    if document.default_action.is_empty() {
        return Err(Error::NoDefaultAction);
    }
    if !document.listener_path.is_empty() {
        return Err(Error::NotifyUnsupported { what: "listenerPath" });
    }
    if !document.architectures.is_empty() && !document.arch_map.is_empty() {
        return Err(Error::Contradiction { what: "both `architectures` and `archMap`" });
    }
    let mut architectures = document.architectures;
    if let Some(entry) = document.arch_map.into_iter().find(|entry| entry.architecture == HERE.1) {
        architectures.push(entry.architecture);
        architectures.extend(entry.sub_architectures);
    }
    let mut syscalls = Vec::new();
    for rule in document.syscalls {
        if !rule.name.is_empty() && !rule.names.is_empty() {
            return Err(Error::Contradiction { what: "both `name` and `names`" });
        }
        if rule.applies(capabilities, kernel)? {
            let names = if rule.name.is_empty() { rule.names } else { vec![rule.name] };
            let ConditionalRule { action, errno_ret, args, .. } = rule;
            syscalls.push(SeccompRule { names, action, errno_ret, args });
        }
    }
    Ok(Seccomp {
        default_action: document.default_action,
        default_errno_ret: document.default_errno_ret,
        architectures,
        flags: document.flags,
        syscalls,
        ..Seccomp::default()
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    architectures: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    arch_map: Vec<ArchitectureFamily>,
    #[serde(deserialize_with = "nullable")]
    flags: Vec<String>,
    listener_path: String,
    #[serde(deserialize_with = "nullable")]
    syscalls: Vec<ConditionalRule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ArchitectureFamily {
    architecture: String,
    #[serde(deserialize_with = "nullable")]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ConditionalRule {
    /// Older documents have one rule for each name.
    name: String,
    #[serde(deserialize_with = "nullable")]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    args: Vec<SeccompArg>,
    includes: Option<Circumstances>,
    excludes: Option<Circumstances>,
}

/// Programs written in Go write an empty list as `null`.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

impl ConditionalRule {
    fn applies(&self, capabilities: &[String], kernel: (u64, u64)) -> Result<bool> {
        if let Some(excludes) = &self.excludes {
            let excluded = excludes.arches.iter().any(|arch| arch == HERE.0)
                || excludes.caps.iter().any(|capability| capabilities.contains(capability))
                || excludes.kernel()?.is_some_and(|minimum| kernel >= minimum);
            if excluded {
                return Ok(false);
            }
        }
        let Some(includes) = &self.includes else {
            return Ok(true);
        };
        Ok((includes.arches.is_empty() || includes.arches.iter().any(|arch| arch == HERE.0))
            && includes.caps.iter().all(|capability| capabilities.contains(capability))
            && includes.kernel()?.is_none_or(|minimum| kernel >= minimum))
    }
}

/// What a rule's presence depends on.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Circumstances {
    #[serde(deserialize_with = "nullable")]
    caps: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    arches: Vec<String>,
    min_kernel: String,
}

impl Circumstances {
    fn kernel(&self) -> Result<Option<(u64, u64)>> {
        if self.min_kernel.is_empty() {
            return Ok(None);
        }
        self.min_kernel
            .split_once('.')
            .and_then(|(version, revision)| Some((version.parse().ok()?, revision.parse().ok()?)))
            .filter(|&version| version != (0, 0))
            .map(Some)
            .ok_or_else(|| Error::KernelVersion { version: self.min_kernel.clone() })
    }
}

/// Version and major revision at the beginning of a release name; what cannot be read counts as 0.
fn kernel_version(release: &str) -> (u64, u64) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(profile: &Seccomp) -> Vec<&str> {
        profile.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str).collect()
    }

    #[test]
    fn rules_depend_on_capabilities_architecture_and_kernel() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]},
                       {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{},"excludes":{"caps":null}},
              {"name":"write","action":"SCMP_ACT_ALLOW","comment":"old style"},
              {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
              {"names":["clone"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"],"arches":["s390"]}},
              {"names":["s390_runtime_instr"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}},
              {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
              {"names":["seccomp"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"5.0"}}]}"#;
        let admin = ["CAP_SYS_ADMIN".to_owned()];
        for (capabilities, kernel, expected) in [
            (&[][..], (6, 1), &["read", "write", "clone", "ptrace"][..]),
            (&admin, (6, 1), &["read", "write", "mount", "ptrace"]),
            (&[], (4, 8), &["read", "write", "clone", "ptrace", "seccomp"]),
            (&[], (4, 7), &["read", "write", "clone", "seccomp"]),
        ] {
            let profile = parse_for(json, capabilities, kernel).unwrap();
            assert_eq!(names(&profile), expected, "{capabilities:?} {kernel:?}");
            assert_eq!(profile.architectures[0], HERE.1);
        }
    }

    #[test]
    fn a_plain_profile_of_the_specification_is_taken_as_it_is() {
        let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
            "flags":["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls":[{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":97,
                         "args":[{"index":0,"value":16,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile = parse_profile(json, &[]).unwrap();
        assert_eq!(profile, serde_json::from_str(json).unwrap());
    }

    #[test]
    fn documents_that_mean_nothing_are_refused() {
        for (json, expected) in [
            ("{", "is not valid JSON"),
            ("{}", "no `defaultAction`"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#, "listenerPath"),
            (
                r#"{"defaultAction":"A","architectures":["a"],"archMap":[{"architecture":"b"}]}"#,
                "both `architectures` and `archMap`",
            ),
            (
                r#"{"defaultAction":"A","syscalls":[{"name":"a","names":["b"],"action":"A"}]}"#,
                "`name` and `names`",
            ),
            (
                r#"{"defaultAction":"A","syscalls":[{"name":"a","action":"A","includes":{"minKernel":"4.x"}}]}"#,
                "`4.x`",
            ),
        ] {
            let error = parse_profile(json, &[]).unwrap_err();
            assert!(error.to_string().contains(expected), "{json}: {error}");
        }
        assert!(matches!(
            parse_profile(&" ".repeat(MAX_DOCUMENT_BYTES + 1), &[]),
            Err(Error::TooLong { .. })
        ));
    }

    #[test]
    fn kernel_releases_are_read_up_to_the_revision() {
        for (release, expected) in
            [("6.18.44", (6, 18)), ("5.10-rc5", (5, 10)), ("4.8", (4, 8)), ("", (0, 0))]
        {
            assert_eq!(kernel_version(release), expected);
        }
    }
}
