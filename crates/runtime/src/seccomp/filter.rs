//! From the profile's rules to a search tree over system call numbers.

use std::collections::{BTreeMap, BTreeSet};

use oci::runtime_spec::{Seccomp, SeccompArg, SeccompRule};

use super::assembler::{ARCHITECTURE, ARGUMENTS, Assembler, Label, NUMBER, Test};
use super::syscalls::{Abi, Call, X32_BIT};
use super::{Error, Program, Result};

/// Larger error numbers do not fit into a pointer-sized result (`MAX_ERRNO` of the kernel).
pub(super) const MAX_ERRNO: u32 = 4095;

/// Arguments of a system call that a filter can see.
const ARGUMENT_COUNT: u32 = 6;

// Verdicts of `<linux/seccomp.h>`; the low 16 bits carry data.
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0x0000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

// `AUDIT_ARCH_…` of `<linux/audit.h>`.
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xc000_00b7;

#[cfg(target_arch = "x86_64")]
const NATIVE: Abi = Abi::X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Abi = Abi::Aarch64;

/// Compiles a profile. The program is the same on every machine of one architecture.
pub fn compile(profile: &Seccomp) -> Result<Program> {
    let flags = flags(&profile.flags)?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let abis = abis(&profile.architectures)?;
    let rules = profile.syscalls.iter().map(Rule::read).collect::<Result<Vec<Rule>>>()?;

    let mut assembler = Assembler::default();
    let mut entry = assembler.verdict(KILL_PROCESS);
    for (audit, residents) in [
        (AUDIT_AARCH64, &[Abi::Aarch64][..]),
        (AUDIT_I386, &[Abi::X86]),
        (AUDIT_X86_64, &[Abi::X86_64, Abi::X32]),
    ] {
        if !residents.iter().any(|abi| abis.contains(abi)) {
            continue;
        }
        let ranges = ranges(residents, &abis, &rules, default);
        let tree = search(&mut assembler, &ranges, default);
        let section = assembler.load(NUMBER, tree);
        entry = assembler.branch(Test::Equal, audit, section, entry);
    }
    let entry = assembler.load(ARCHITECTURE, entry);
    Ok(Program { instructions: assembler.finish(entry)?, flags })
}

/// One rule of the profile, understood.
struct Rule {
    /// Those that exist somewhere.
    calls: Vec<&'static Call>,
    /// The rule applies when all conditions of one of these hold.
    alternatives: Vec<Vec<Condition>>,
    action: u32,
}

impl Rule {
    fn read(rule: &SeccompRule) -> Result<Rule> {
        let call = rule.names.first().map_or("", String::as_str);
        let conditions =
            rule.args.iter().map(|arg| Condition::read(arg, call)).collect::<Result<Vec<Condition>>>()?;
        let indexes: BTreeSet<u32> = rule.args.iter().map(|arg| arg.index).collect();
        let alternatives = if indexes.len() == conditions.len() {
            vec![conditions]
        } else {
            conditions.into_iter().map(|condition| vec![condition]).collect()
        };
        let calls = rule.names.iter().filter_map(|name| Call::named(name)).collect();
        Ok(Rule { calls, alternatives, action: action(&rule.action, rule.errno_ret)? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The argument's bits under this mask.
    MaskedEqual(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    index: u32,
    comparison: Comparison,
    value: u64,
}

impl Condition {
    fn read(arg: &SeccompArg, call: &str) -> Result<Condition> {
        if arg.index >= ARGUMENT_COUNT {
            return Err(Error::ArgumentIndex { call: call.to_owned(), index: arg.index });
        }
        let (comparison, value) = match arg.op.as_str() {
            "SCMP_CMP_EQ" => (Comparison::Equal, arg.value),
            "SCMP_CMP_NE" => (Comparison::NotEqual, arg.value),
            "SCMP_CMP_LT" => (Comparison::Less, arg.value),
            "SCMP_CMP_LE" => (Comparison::LessOrEqual, arg.value),
            "SCMP_CMP_GT" => (Comparison::Greater, arg.value),
            "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, arg.value),
            "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual(arg.value), arg.value_two),
            operator => {
                return Err(Error::UnknownOperator { call: call.to_owned(), operator: operator.to_owned() });
            }
        };
        Ok(Condition { index: arg.index, comparison, value })
    }

    /// The condition as a caller of this ABI can meet it.
    fn in_abi(self, abi: Abi) -> Condition {
        const WORD: u64 = 0xffff_ffff;
        if abi != Abi::X86 {
            return self;
        }
        let comparison = match self.comparison {
            Comparison::MaskedEqual(mask) => Comparison::MaskedEqual(mask & WORD),
            other => other,
        };
        Condition { comparison, value: self.value & WORD, ..self }
    }

    /// The filter compares words of 32 bits, the high one first.
    fn assemble(self, assembler: &mut Assembler, yes: Label, no: Label) -> Label {
        let (high, low) = words(self.value);
        let low_offset = ARGUMENTS + 8 * self.index;
        let high_offset = low_offset + 4;
        let (test, yes, no) = match self.comparison {
            Comparison::Equal => (Test::Equal, yes, no),
            Comparison::NotEqual => (Test::Equal, no, yes),
            Comparison::Greater => (Test::Greater, yes, no),
            Comparison::LessOrEqual => (Test::Greater, no, yes),
            Comparison::GreaterOrEqual => (Test::GreaterOrEqual, yes, no),
            Comparison::Less => (Test::GreaterOrEqual, no, yes),
            Comparison::MaskedEqual(mask) => {
                let (high_mask, low_mask) = words(mask);
                let low = assembler.branch(Test::Equal, low, yes, no);
                let low = assembler.and(low_mask, low);
                let low = assembler.load(low_offset, low);
                let high = assembler.branch(Test::Equal, high, low, no);
                let high = assembler.and(high_mask, high);
                return assembler.load(high_offset, high);
            }
        };
        let low = assembler.branch(test, low, yes, no);
        let low = assembler.load(low_offset, low);
        let equal = assembler.branch(Test::Equal, high, low, no);
        let decided = match test {
            Test::Equal => equal,
            Test::Greater | Test::GreaterOrEqual => assembler.branch(Test::Greater, high, yes, equal),
        };
        assembler.load(high_offset, decided)
    }
}

fn words(value: u64) -> (u32, u32) {
    let low = u32::try_from(value & 0xffff_ffff).expect("32 bits remain");
    let high = u32::try_from(value >> 32).expect("32 bits remain");
    (high, low)
}

/// What becomes of one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Always(u32),
    /// The action of the first clause whose conditions all hold, else the default.
    When(Vec<(Vec<Condition>, u32)>),
}

impl Verdict {
    /// Adds a rule's alternatives to what earlier rules say.
    fn add(&mut self, alternatives: Vec<Vec<Condition>>, action: u32) {
        let Verdict::When(clauses) = self else {
            return;
        };
        if alternatives.iter().any(Vec::is_empty) {
            *self = Verdict::Always(action);
        } else {
            clauses.extend(alternatives.into_iter().map(|conditions| (conditions, action)));
        }
    }

    fn assemble(&self, assembler: &mut Assembler, default: u32) -> Label {
        match self {
            Verdict::Always(action) => assembler.verdict(*action),
            Verdict::When(clauses) => {
                let mut next = assembler.verdict(default);
                for (conditions, action) in clauses.iter().rev() {
                    let mut label = assembler.verdict(*action);
                    for condition in conditions.iter().rev() {
                        label = condition.assemble(assembler, label, next);
                    }
                    next = label;
                }
                next
            }
        }
    }
}

/// A binary search for the range that holds the number; each range lasts until the next one begins.
fn search(assembler: &mut Assembler, ranges: &[(u32, Verdict)], default: u32) -> Label {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    if left.is_empty() {
        return right[0].1.assemble(assembler, default);
    }
    let above = search(assembler, right, default);
    let below = search(assembler, left, default);
    assembler.branch(Test::GreaterOrEqual, right[0].0, above, below)
}

/// All numbers of an architecture, as ranges of equal verdict; the first one begins at 0.
fn ranges(residents: &[Abi], abis: &BTreeSet<Abi>, rules: &[Rule], default: u32) -> Vec<(u32, Verdict)> {
    let unknown = match default {
        ALLOW | LOG => default,
        // A tracer asked to see everything.
        traced if traced & !0xffff == TRACE => default,
        _ => ERRNO | ENOSYS,
    };
    let mut starts = BTreeMap::new();
    for &abi in residents {
        let base = if abi == Abi::X32 { X32_BIT } else { 0 };
        if !abis.contains(&abi) {
            starts.insert(base, Verdict::Always(KILL_PROCESS));
            continue;
        }
        starts.insert(base, Verdict::Always(default));
        for (number, verdict) in verdicts(abi, rules, default) {
            starts.insert(number, verdict);
            starts.insert(number + 1, Verdict::Always(default));
        }
        let newest = rules.iter().flat_map(|rule| &rule.calls).filter_map(|call| call.number(abi)).max();
        let beyond = if newest.is_some() { unknown } else { default };
        starts.extend(newest.map(|newest| (newest + 1, Verdict::Always(beyond))));
        if abi != Abi::X32 {
            // A call numbered -1 is no x32 call, though it has the bit: tracers use it for "none".
            starts.insert(u32::MAX, Verdict::Always(beyond));
        }
    }
    let mut ranges: Vec<(u32, Verdict)> = starts.into_iter().collect();
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// What the rules say about each call of an ABI that they name.
fn verdicts(abi: Abi, rules: &[Rule], default: u32) -> BTreeMap<u32, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut add = |number: u32, alternatives: Vec<Vec<Condition>>, action: u32| {
        verdicts.entry(number).or_insert_with(|| Verdict::When(Vec::new())).add(alternatives, action);
    };
    for rule in rules.iter().filter(|rule| rule.action != default) {
        for call in &rule.calls {
            if let Some(number) = call.number(abi) {
                add(number, rule.alternatives.iter().map(|all| in_abi(all, abi)).collect(), rule.action);
            }
            let unconditional = rule.alternatives.iter().any(Vec::is_empty);
            if let Some((number, condition)) = multiplexed(abi, call).filter(|_| unconditional) {
                add(number, vec![vec![condition]], rule.action);
            }
        }
    }
    verdicts
}

fn in_abi(conditions: &[Condition], abi: Abi) -> Vec<Condition> {
    conditions.iter().map(|condition| condition.in_abi(abi)).collect()
}

/// The other way to make a call on i386: socketcall(2) and ipc(2) take its number as their first argument.
fn multiplexed(abi: Abi, call: &Call) -> Option<(u32, Condition)> {
    // Name of the multiplexer, the bits of its first argument that count, the first number, and the calls from there on.
    const FAMILIES: [(&str, u64, u64, &str); 4] = [
        (
            "socketcall",
            u64::MAX,
            1,
            "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown \
             setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg",
        ),
        // The upper half carries the version of the interface.
        ("ipc", 0xffff, 1, "semop semget semctl semtimedop"),
        ("ipc", 0xffff, 11, "msgsnd msgrcv msgget msgctl"),
        ("ipc", 0xffff, 21, "shmat shmdt shmget shmctl"),
    ];
    if abi != Abi::X86 {
        return None;
    }
    FAMILIES.iter().find_map(|&(multiplexer, mask, first, calls)| {
        let position = calls.split_whitespace().position(|name| name == call.name())? as u64;
        let comparison = Comparison::MaskedEqual(mask);
        let condition = Condition { index: 0, comparison, value: first + position };
        Some((Call::named(multiplexer)?.number(abi)?, condition.in_abi(abi)))
    })
}

fn action(name: &str, errno: Option<u32>) -> Result<u32> {
    let (value, takes_errno) = match name {
        "SCMP_ACT_ALLOW" => (ALLOW, false),
        "SCMP_ACT_ERRNO" => (ERRNO, true),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => (KILL_THREAD, false),
        "SCMP_ACT_KILL_PROCESS" => (KILL_PROCESS, false),
        "SCMP_ACT_LOG" => (LOG, false),
        "SCMP_ACT_TRACE" => (TRACE, true),
        "SCMP_ACT_TRAP" => (TRAP, false),
        "SCMP_ACT_NOTIFY" => return Err(Error::NotifyUnsupported { what: "SCMP_ACT_NOTIFY" }),
        "" => return Err(Error::NoDefaultAction),
        _ => return Err(Error::UnknownAction { action: name.to_owned() }),
    };
    match errno {
        Some(errno) if !takes_errno => {
            // Zero is what a document without an errno may say.
            if errno == 0 { Ok(value) } else { Err(Error::ActionTakesNoErrno { action: name.to_owned() }) }
        }
        Some(errno) if errno > MAX_ERRNO => Err(Error::Errno { errno }),
        Some(errno) => Ok(value | errno),
        None if takes_errno => Ok(value | EPERM),
        None => Ok(value),
    }
}

/// The ABIs to filter. Architectures that this build has no numbers for are known by name: their calls kill.
fn abis(architectures: &[String]) -> Result<BTreeSet<Abi>> {
    const WITHOUT_NUMBERS: [&str; 18] = [
        "ARM",
        "LOONGARCH64",
        "M68K",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PARISC",
        "PARISC64",
        "PPC",
        "PPC64",
        "PPC64LE",
        "RISCV64",
        "S390",
        "S390X",
        "SH",
    ];
    let mut abis = BTreeSet::from([NATIVE]);
    for architecture in architectures {
        match architecture.strip_prefix("SCMP_ARCH_") {
            Some("X86_64") => abis.insert(Abi::X86_64),
            Some("X86") => abis.insert(Abi::X86),
            Some("X32") => abis.insert(Abi::X32),
            Some("AARCH64") => abis.insert(Abi::Aarch64),
            Some(known) if WITHOUT_NUMBERS.contains(&known) => false,
            _ => return Err(Error::UnknownArchitecture { architecture: architecture.clone() }),
        };
    }
    Ok(abis)
}

fn flags(names: &[String]) -> Result<u32> {
    const TSYNC: u32 = 1;
    const FLAG_LOG: u32 = 2;
    const SPEC_ALLOW: u32 = 4;
    if names.is_empty() {
        // What runc does: mitigating speculation for every filtered process costs far more than the filter.
        return Ok(SPEC_ALLOW);
    }
    names.iter().try_fold(0, |flags, name| match name.as_str() {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags | TSYNC),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | SPEC_ALLOW),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
            Err(Error::NotifyUnsupported { what: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" })
        }
        _ => Err(Error::UnknownFlag { flag: name.clone() }),
    })
}
