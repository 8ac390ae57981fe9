//! Compiled programs, run by an interpreter of classic BPF and compared with what their profiles say.

use linux::seccomp::SockFilter;
use oci::runtime_spec::{Seccomp, SeccompArg, SeccompRule};
use proptest::prelude::*;

use super::syscalls::{self, Abi, X32_BIT};
use super::{Error, compile, default_profile, parse_profile};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn number(abi: Abi, name: &str) -> Option<u32> {
    syscalls::Call::named(name)?.number(abi)
}

/// A system call as the kernel shows it to a filter (`struct seccomp_data`).
#[derive(Debug, Clone, Copy)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let mut bytes = Vec::new();
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.arch.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        self.args.iter().for_each(|arg| bytes.extend(arg.to_le_bytes()));
        let offset = offset as usize;
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }
}

/// Runs a program, checking what the kernel's own check asks for on the way.
fn run(program: &[SockFilter], call: Call) -> u32 {
    let (mut next, mut accumulator) = (0, 0u32);
    loop {
        let SockFilter { code, jt, jf, k } = program[next];
        next += 1;
        let mut jump = |taken: bool| next += usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => next += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x06 => return k,
            _ => panic!("instruction {code:#x} is not used"),
        }
    }
}

/// What the kernel checks before it takes a program.
fn assert_loadable(program: &[SockFilter]) {
    assert!(!program.is_empty() && program.len() <= 4096, "{}", program.len());
    assert_eq!(program.last().unwrap().code, 0x06);
    for (index, instruction) in program.iter().enumerate() {
        let reach = match instruction.code {
            0x05 => instruction.k as usize,
            0x15 | 0x25 | 0x35 => usize::from(instruction.jt.max(instruction.jf)),
            0x20 => {
                assert!(instruction.k % 4 == 0 && instruction.k < 64);
                0
            }
            _ => 0,
        };
        assert!(index + 1 + reach <= program.len());
    }
}

/// The meaning of a profile, said as directly as possible.
fn naive(profile: &Seccomp, call: Call) -> u32 {
    let action = |name: &str, errno: Option<u32>| match name {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_KILL" => 0,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno.unwrap_or(1),
        _ => unreachable!(),
    };
    let default = action(&profile.default_action, profile.default_errno_ret);
    let abi = match call.arch {
        X86_64 if (X32_BIT..u32::MAX).contains(&call.number) => Abi::X32,
        X86_64 => Abi::X86_64,
        I386 => Abi::X86,
        AARCH64 => Abi::Aarch64,
        _ => return KILL_PROCESS,
    };
    let listed = |name: &str| profile.architectures.iter().any(|listed| listed == name);
    let is_filtered = match abi {
        Abi::X86_64 => cfg!(target_arch = "x86_64") || listed("SCMP_ARCH_X86_64"),
        Abi::X86 => listed("SCMP_ARCH_X86"),
        Abi::X32 => listed("SCMP_ARCH_X32"),
        Abi::Aarch64 => cfg!(target_arch = "aarch64") || listed("SCMP_ARCH_AARCH64"),
    };
    if !is_filtered {
        return KILL_PROCESS;
    }
    let names = || profile.syscalls.iter().flat_map(|rule| &rule.names);
    let restrictive =
        !["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].contains(&profile.default_action.as_str());
    let newest = names().filter_map(|name| number(abi, name)).max();
    if restrictive && newest.is_some_and(|newest| call.number > newest) {
        return ENOSYS;
    }
    let word = |value: u64| if abi == Abi::X86 { value & 0xffff_ffff } else { value };
    let holds = |arg: &SeccompArg| {
        let (actual, value, two) = (call.args[arg.index as usize], word(arg.value), word(arg.value_two));
        match arg.op.as_str() {
            "SCMP_CMP_EQ" => actual == value,
            "SCMP_CMP_NE" => actual != value,
            "SCMP_CMP_LT" => actual < value,
            "SCMP_CMP_LE" => actual <= value,
            "SCMP_CMP_GT" => actual > value,
            "SCMP_CMP_GE" => actual >= value,
            "SCMP_CMP_MASKED_EQ" => actual & value == two,
            _ => unreachable!(),
        }
    };
    let mut conditional = None;
    for rule in &profile.syscalls {
        let verdict = action(&rule.action, rule.errno_ret);
        if verdict == default || !rule.names.iter().any(|name| number(abi, name) == Some(call.number)) {
            continue;
        }
        if rule.args.is_empty() {
            return verdict;
        }
        let repeated =
            rule.args.iter().any(|one| rule.args.iter().filter(|arg| arg.index == one.index).count() > 1);
        let applies = if repeated { rule.args.iter().any(holds) } else { rule.args.iter().all(holds) };
        if applies && conditional.is_none() {
            conditional = Some(verdict);
        }
    }
    conditional.unwrap_or(default)
}

/// Calls without a second way on i386, old and new, some of which not every ABI has, and one that none has.
const POOL: [&str; 20] = [
    "read",
    "write",
    "open",
    "openat",
    "execve",
    "clone",
    "clone3",
    "personality",
    "ioctl",
    "rt_sigaction",
    "_llseek",
    "umount",
    "epoll_wait_old",
    "io_setup",
    "mseal",
    "futex_waitv",
    "arch_prctl",
    "time64_nonsense",
    "exit",
    "preadv2",
];

const VALUES: [u64; 12] = [
    0,
    1,
    2,
    0x7e02_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![4 => prop::sample::select(VALUES.to_vec()), 1 => any::<u64>()]
}

fn any_argument() -> impl Strategy<Value = SeccompArg> {
    let operators = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];
    (0u32..3, any_value(), any_value(), prop::sample::select(operators.to_vec())).prop_map(
        |(index, value, value_two, operator)| {
            let value_two = if operator == "MASKED_EQ" { value_two & value } else { value_two };
            SeccompArg { index, value, value_two, op: format!("SCMP_CMP_{operator}") }
        },
    )
}

fn any_action() -> impl Strategy<Value = (String, Option<u32>)> {
    let plain = ["ALLOW", "LOG", "TRAP", "KILL", "KILL_PROCESS"];
    prop_oneof![
        prop::sample::select(plain.to_vec()).prop_map(|name| (format!("SCMP_ACT_{name}"), None)),
        prop::option::of(0u32..4).prop_map(|errno| ("SCMP_ACT_ERRNO".to_owned(), errno)),
        prop::option::of(0u32..4).prop_map(|errno| ("SCMP_ACT_TRACE".to_owned(), errno)),
    ]
}

fn any_profile(rules: std::ops::Range<usize>) -> impl Strategy<Value = Seccomp> {
    let names = prop::collection::vec(prop::sample::select(POOL.to_vec()).prop_map(str::to_owned), 1..5);
    let rule = (names, any_action(), prop::collection::vec(any_argument(), 0..4))
        .prop_map(|(names, (action, errno_ret), args)| SeccompRule { names, action, errno_ret, args });
    let abis = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"];
    let architectures = prop::sample::subsequence(abis.to_vec(), 0..=abis.len());
    (any_action(), architectures, prop::collection::vec(rule, rules)).prop_map(
        |((default_action, default_errno_ret), architectures, syscalls)| Seccomp {
            default_action,
            default_errno_ret,
            architectures: architectures.into_iter().map(str::to_owned).collect(),
            flags: Vec::new(),
            syscalls,
            ..Seccomp::default()
        },
    )
}

/// Numbers at and beside the interesting ones.
fn any_number() -> impl Strategy<Value = u32> {
    let named = (prop::sample::select(POOL.to_vec()), 0usize..4).prop_map(|(name, abi)| {
        number([Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64][abi], name).unwrap_or(0)
    });
    prop_oneof![
        8 => (named, 0u32..3).prop_map(|(number, shift)| number.wrapping_add(shift).wrapping_sub(1)),
        1 => prop::sample::select(vec![0, 470, 471, 512, X32_BIT - 1, X32_BIT, X32_BIT + 471, u32::MAX - 1, u32::MAX]),
        1 => any::<u32>(),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    let arch = prop_oneof![
        4 => Just(X86_64),
        2 => Just(I386),
        1 => Just(AARCH64),
        1 => any::<u32>(),
    ];
    (arch, any_number(), prop::array::uniform6(any_value())).prop_map(|(arch, number, args)| {
        // The kernel extends the arguments of a 32-bit call with zeroes.
        let args = if arch == I386 { args.map(|arg| arg & 0xffff_ffff) } else { args };
        Call { arch, number, args }
    })
}

/// A failure is kept by its minimal input in the report, not in a file beside the source.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]
    #[test]
    fn programs_decide_as_their_profiles_say(
        profile in any_profile(0..12), calls in prop::collection::vec(any_call(), 50),
    ) {
        let program = compile(&profile).unwrap().instructions;
        assert_loadable(&program);
        for call in calls {
            prop_assert_eq!(run(&program, call), naive(&profile, call), "{:x?}", call);
        }
    }
}

proptest! {
    #![proptest_config(config(40))]
    #[test]
    fn programs_whose_jumps_go_far_decide_as_their_profiles_say(
        profile in any_profile(40..60), calls in prop::collection::vec(any_call(), 300),
    ) {
        match compile(&profile) {
            Ok(program) => {
                assert_loadable(&program.instructions);
                for call in calls {
                    prop_assert_eq!(run(&program.instructions, call), naive(&profile, call), "{:x?}", call);
                }
            }
            Err(error) => prop_assert!(matches!(error, Error::TooLarge { .. }), "{}", error),
        }
    }
}

fn rule(names: &[&str], action: &str, errno_ret: Option<u32>, args: &[(u32, &str, u64, u64)]) -> SeccompRule {
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: format!("SCMP_ACT_{action}"),
        errno_ret,
        args: args
            .iter()
            .map(|&(index, op, value, value_two)| SeccompArg {
                index,
                value,
                value_two,
                op: format!("SCMP_CMP_{op}"),
            })
            .collect(),
    }
}

fn profile(default: &str, syscalls: Vec<SeccompRule>) -> Seccomp {
    let architectures = ["X86_64", "X86", "X32"].map(|name| format!("SCMP_ARCH_{name}")).to_vec();
    Seccomp { default_action: format!("SCMP_ACT_{default}"), architectures, syscalls, ..Seccomp::default() }
}

fn decide(program: &[SockFilter], abi: Abi, name: &str, args: &[u64]) -> u32 {
    let arch = match abi {
        Abi::X86_64 | Abi::X32 => X86_64,
        Abi::X86 => I386,
        Abi::Aarch64 => AARCH64,
    };
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    run(program, Call { arch, number: number(abi, name).unwrap(), args: all })
}

#[test]
fn every_call_with_its_own_verdict_still_fits_and_is_found() {
    let native = syscalls::CALLS.iter().filter(|call| call.number(Abi::X86_64).is_some());
    let names: Vec<&str> = native.map(syscalls::Call::name).collect();
    assert!(names.len() > 350, "{}", names.len());
    let rules = names
        .iter()
        .enumerate()
        .map(|(index, name)| rule(&[name], "ERRNO", Some(u32::try_from(index).unwrap() + 2), &[]));
    let program = compile(&profile("ALLOW", rules.collect())).unwrap().instructions;
    assert_loadable(&program);
    assert!(program.len() > 1000);
    for (index, name) in names.iter().enumerate() {
        let expected = 0x0005_0000 | (u32::try_from(index).unwrap() + 2);
        assert_eq!(decide(&program, Abi::X86_64, name, &[]), expected, "{name}");
        if number(Abi::X32, name).is_some() {
            assert_eq!(decide(&program, Abi::X32, name, &[]), expected, "{name}");
        }
    }
}

#[test]
fn a_call_of_another_abi_kills() {
    let mut only_native = profile("ALLOW", Vec::new());
    only_native.architectures.clear();
    let program = compile(&only_native).unwrap().instructions;
    let call = |arch, number| run(&program, Call { arch, number, args: [0; 6] });
    assert_eq!(call(X86_64, 1), ALLOW);
    assert_eq!(call(X86_64, X32_BIT | 1), KILL_PROCESS);
    assert_eq!(call(X86_64, u32::MAX), ALLOW);
    assert_eq!(call(I386, 1), KILL_PROCESS);
    assert_eq!(call(0, 1), KILL_PROCESS);
}

#[test]
fn calls_newer_than_a_restrictive_profile_do_not_exist() {
    let restrictive = profile("ERRNO", vec![rule(&["read", "openat2"], "ALLOW", None, &[])]);
    let program = compile(&restrictive).unwrap().instructions;
    for (abi, name, expected) in [
        (Abi::X86_64, "read", ALLOW),
        (Abi::X86_64, "write", EPERM),
        (Abi::X86_64, "openat2", ALLOW),
        (Abi::X86_64, "pidfd_getfd", ENOSYS),
        (Abi::X32, "pidfd_getfd", ENOSYS),
        (Abi::X86, "pidfd_getfd", ENOSYS),
        (Abi::X86, "write", EPERM),
    ] {
        assert_eq!(decide(&program, abi, name, &[]), expected, "{abi:?} {name}");
    }
    let program = compile(&profile("ALLOW", vec![rule(&["read"], "ERRNO", None, &[])])).unwrap().instructions;
    assert_eq!(decide(&program, Abi::X86_64, "mseal", &[]), ALLOW);
}

#[test]
fn multiplexed_calls_of_i386_follow_rules_without_conditions_only() {
    let rules = vec![
        rule(&["bind", "semctl", "recv"], "ALLOW", None, &[]),
        rule(&["socket"], "ALLOW", None, &[(0, "EQ", 1, 0)]),
    ];
    let program = compile(&profile("ERRNO", rules)).unwrap().instructions;
    for (name, args, expected) in [
        ("bind", &[][..], ALLOW),
        ("socketcall", &[2], ALLOW),
        ("socketcall", &[10], ALLOW),
        ("socketcall", &[1], EPERM),
        ("socketcall", &[3], EPERM),
        ("socket", &[1], ALLOW),
        ("socket", &[2], EPERM),
        ("ipc", &[3], ALLOW),
        ("ipc", &[0x0001_0003], ALLOW),
        ("ipc", &[2], EPERM),
    ] {
        assert_eq!(decide(&program, Abi::X86, name, args), expected, "{name} {args:?}");
    }
}

#[test]
fn what_makes_no_filter_is_refused_by_name() {
    let with = |action: &str, errno, args: &[(u32, &str, u64, u64)]| {
        compile(&profile("ERRNO", vec![rule(&["read"], action, errno, args)])).map(drop)
    };
    let flags =
        |flag: &str| compile(&Seccomp { flags: vec![flag.to_owned()], ..profile("ALLOW", vec![]) }).map(drop);
    let arch = |name: &str| {
        compile(&Seccomp { architectures: vec![name.to_owned()], ..profile("ALLOW", vec![]) }).map(drop)
    };
    for (result, expected) in [
        (with("NOTIFY", None, &[]), "SCMP_ACT_NOTIFY"),
        (compile(&profile("NOTIFY", vec![])).map(drop), "SCMP_ACT_NOTIFY"),
        (with("DENY", None, &[]), "`SCMP_ACT_DENY`"),
        (with("ERRNO", Some(4096), &[]), "4096"),
        (with("ALLOW", Some(1), &[]), "takes no `errnoRet`"),
        (with("ALLOW", None, &[(6, "EQ", 0, 0)]), "argument index 6 of `read`"),
        (with("ALLOW", None, &[(0, "XX", 0, 0)]), "`SCMP_CMP_XX`"),
        (flags("SECCOMP_FILTER_FLAG_NEW_LISTENER"), "`SECCOMP_FILTER_FLAG_NEW_LISTENER`"),
        (flags("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"), "not supported yet"),
        (arch("SCMP_ARCH_VAX"), "`SCMP_ARCH_VAX`"),
        (arch("X86"), "`X86`"),
        (compile(&Seccomp::default()).map(drop), "no `defaultAction`"),
    ] {
        let error = result.expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let endless: Vec<(u32, &str, u64, u64)> = (0..6000).map(|value| (0, "EQ", value, 0)).collect();
    assert!(matches!(with("ALLOW", None, &endless), Err(Error::TooLarge { .. })));
}

#[test]
fn flags_are_the_kernels_and_speculation_is_left_alone_by_default() {
    for (names, expected) in [(&[][..], 4), (&["TSYNC"], 1), (&["LOG", "SPEC_ALLOW"], 6)] {
        let flags = names.iter().map(|name| format!("SECCOMP_FILTER_FLAG_{name}")).collect();
        assert_eq!(
            compile(&Seccomp { flags, ..profile("ALLOW", vec![]) }).unwrap().flags,
            expected,
            "{names:?}"
        );
    }
}

#[test]
fn the_default_profile_decides_as_dockers() {
    let holder = |names: &[&str]| {
        let capabilities: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
        compile(&default_profile(&capabilities)).unwrap().instructions
    };
    let (plain, admin) = (holder(&["CHOWN"]), holder(&["SYS_ADMIN", "SYS_TIME"]));
    assert!(plain.len() < 1000, "{}", plain.len());
    for (name, args, without, with) in [
        ("read", &[][..], ALLOW, ALLOW),
        ("mseal", &[], ALLOW, ALLOW),
        ("ptrace", &[], ALLOW, ALLOW),
        ("socketpair", &[1], ALLOW, ALLOW),
        ("socket", &[2], ALLOW, ALLOW),
        ("socket", &[37], ALLOW, ALLOW),
        ("socket", &[38], EPERM, EPERM),
        ("socket", &[39], ALLOW, ALLOW),
        ("socket", &[40], EPERM, EPERM),
        ("socket", &[41], ALLOW, ALLOW),
        ("personality", &[0], ALLOW, ALLOW),
        ("personality", &[0xffff_ffff], ALLOW, ALLOW),
        ("personality", &[0x4_0000], EPERM, EPERM),
        ("clone", &[0x11], ALLOW, ALLOW),
        ("clone", &[0x1000_0011], EPERM, ALLOW),
        ("clone", &[0x0002_0000], EPERM, ALLOW),
        ("clone3", &[], ENOSYS, ALLOW),
        ("unshare", &[], EPERM, ALLOW),
        ("mount", &[], EPERM, ALLOW),
        ("setns", &[], EPERM, ALLOW),
        ("bpf", &[], EPERM, ALLOW),
        ("clock_settime", &[], EPERM, ALLOW),
        ("keyctl", &[], EPERM, EPERM),
        ("add_key", &[], EPERM, EPERM),
        ("io_uring_setup", &[], EPERM, EPERM),
        ("userfaultfd", &[], EPERM, EPERM),
        ("kexec_load", &[], EPERM, EPERM),
        ("init_module", &[], EPERM, EPERM),
        ("reboot", &[], EPERM, EPERM),
        ("open_by_handle_at", &[], EPERM, EPERM),
        ("arch_prctl", &[], ALLOW, ALLOW),
    ] {
        for abi in [Abi::X86_64, Abi::X32, Abi::X86] {
            assert_eq!(decide(&plain, abi, name, args), without, "{abi:?} {name} {args:x?} without");
            assert_eq!(decide(&admin, abi, name, args), with, "{abi:?} {name} {args:x?} with");
        }
    }
    assert_eq!(run(&plain, Call { arch: X86_64, number: 471, args: [0; 6] }), ENOSYS);
}

/// A document in Docker's format that says what the built-in profile says gives the same program.
#[test]
fn the_default_profile_survives_a_document() {
    let profile = default_profile(&["CAP_SYS_ADMIN".to_owned()]);
    let json = serde_json::to_string(&profile).unwrap();
    assert_eq!(compile(&parse_profile(&json, &[]).unwrap()).unwrap(), compile(&profile).unwrap());
}
