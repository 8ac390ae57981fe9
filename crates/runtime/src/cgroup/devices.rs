//! Device rules: what they mean together, and how each version of cgroups is told.
//!
//! Everything is denied first, also when no rule says so. Later rules win, bit by bit of the access.

use linux::bpf::Instruction;
use oci::runtime_spec::DeviceRule;

use super::Version::V1;
use super::plan::Setting;
use super::{Error, Result};

/// Each rule is a write, or eight instructions that run at every open of a device.
const MAX_RULES: usize = 512;

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const EVERY_ACCESS: u8 = MKNOD | READ | WRITE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block = 1,
    Character = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Kind,
    /// None: any.
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// What a list of rules comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    allow_by_default: bool,
    rules: Vec<Rule>,
}

impl Policy {
    pub(super) fn read(rules: &[DeviceRule]) -> Result<Policy> {
        let mut policy = Policy { allow_by_default: false, rules: Vec::new() };
        for rule in rules {
            policy.add(rule)?;
        }
        Ok(policy)
    }

    fn add(&mut self, rule: &DeviceRule) -> Result<()> {
        let invalid = |reason| Error::DeviceRule { rule: describe(rule), reason };
        let access =
            access(&rule.access).ok_or_else(|| invalid("its access is not made of `r`, `w` and `m`"))?;
        let kinds: &[Kind] = match rule.kind.as_deref() {
            None | Some("a" | "") => &[Kind::Character, Kind::Block],
            Some("c" | "u") => &[Kind::Character],
            Some("b") => &[Kind::Block],
            Some(_) => return Err(invalid("its type is not `a`, `b` or `c`")),
        };
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => {
                u32::try_from(number).map(Some).map_err(|_| invalid("its number is out of range"))
            }
        };
        let (major, minor) = (number(rule.major)?, number(rule.minor)?);
        if kinds.len() == 2 && access == EVERY_ACCESS && (major, minor) == (None, None) {
            // It speaks about everything, so nothing before it matters.
            *self = Policy { allow_by_default: rule.allow, rules: Vec::new() };
            return Ok(());
        }
        let rules = kinds.iter().map(|&kind| Rule { allow: rule.allow, kind, major, minor, access });
        self.rules.extend(rules);
        if self.rules.len() > MAX_RULES {
            return Err(invalid("there are too many rules"));
        }
        Ok(())
    }

    /// What to write to a v1 group.
    pub(super) fn settings(&self) -> Result<Vec<Setting>> {
        let file = |allow| if allow { "devices.allow" } else { "devices.deny" };
        let default = Setting::new(V1, "devices", file(self.allow_by_default), "a");
        let exceptions = self.exceptions()?;
        let rules = exceptions.iter().map(|rule| Setting::new(V1, "devices", file(rule.allow), rule.line()));
        Ok(std::iter::once(default).chain(rules).collect())
    }

    /// The rules as v1 keeps them: exceptions from the default. Part of an exception cannot be taken back there; the
    /// kernel would ignore that silently, so it is refused.
    fn exceptions(&self) -> Result<Vec<Rule>> {
        let mut exceptions: Vec<Rule> = Vec::new();
        for &rule in &self.rules {
            if rule.allow != self.allow_by_default {
                exceptions.push(rule);
                continue;
            }
            for exception in exceptions.iter_mut().filter(|exception| exception.overlaps(&rule)) {
                if !rule.covers(exception) {
                    let reason = "cgroup v1 cannot take back a part of what an earlier rule says";
                    return Err(Error::DeviceRule { rule: rule.line(), reason });
                }
                exception.access &= !rule.access;
            }
        }
        exceptions.retain(|exception| exception.access != 0);
        Ok(exceptions)
    }

    /// The same as a program for `BPF_PROG_TYPE_CGROUP_DEVICE`, which answers 1 to allow.
    ///
    /// From the last rule to the first it keeps the requested bits that nobody has decided yet: a rule that allows
    /// takes its bits away, one that denies ends the search if it has one of them.
    pub(super) fn program(&self) -> Vec<Instruction> {
        let mut program = vec![
            load(REQUESTED, CONTEXT, 0),
            register(MOVE, KIND, REQUESTED),
            immediate(AND, KIND, 0xffff),
            immediate(SHIFT_RIGHT, REQUESTED, 16),
            load(MAJOR, CONTEXT, 4),
            load(MINOR, CONTEXT, 8),
        ];
        for rule in self.rules.iter().rev() {
            rule.assemble(&mut program);
        }
        program.extend(answer(self.allow_by_default));
        program
    }
}

impl Rule {
    /// Whether there is a device and an access that both rules speak about.
    fn overlaps(&self, other: &Rule) -> bool {
        let meet = |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
        self.kind == other.kind
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// Whether this rule speaks about every device that the other one does.
    fn covers(&self, other: &Rule) -> bool {
        let within = |one: Option<u32>, other: Option<u32>| one.is_none() || one == other;
        self.kind == other.kind && within(self.major, other.major) && within(self.minor, other.minor)
    }

    /// The rule as v1 takes it: `c 1:3 rwm`.
    fn line(&self) -> String {
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let bits = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let access: String =
            bits.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }

    fn assemble(&self, program: &mut Vec<Instruction>) {
        let access = i32::from(self.access);
        let body = if self.allow {
            // What remains after this rule's bits are gone.
            let [allowed, end] = answer(true);
            vec![immediate(AND, REQUESTED, !access), jump_if(NOT_EQUAL, REQUESTED, 0, 2), allowed, end]
        } else {
            let [denied, end] = answer(false);
            vec![jump_if(ANY_BIT, REQUESTED, access, 1), JUMP_OVER_ANSWER, denied, end]
        };
        let mut tests = vec![(KIND, self.kind as i32)];
        tests.extend(self.major.map(|major| (MAJOR, major.cast_signed())));
        tests.extend(self.minor.map(|minor| (MINOR, minor.cast_signed())));
        let mut behind = i16::try_from(tests.len() + body.len()).expect("seven instructions at most");
        for (register, value) in tests {
            behind -= 1;
            program.push(jump_if(NOT_EQUAL, register, value, behind));
        }
        program.extend(body);
    }
}

fn access(text: &str) -> Option<u8> {
    let mut bits = text.chars().map(|letter| match letter {
        'r' => Some(READ),
        'w' => Some(WRITE),
        'm' => Some(MKNOD),
        _ => None,
    });
    bits.try_fold(0, |access, bit| Some(access | bit?)).filter(|&access| access != 0)
}

fn describe(rule: &DeviceRule) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let (verb, kind) = (if rule.allow { "allow" } else { "deny" }, rule.kind.as_deref().unwrap_or("a"));
    format!("{verb} {kind} {}:{} {}", number(rule.major), number(rule.minor), rule.access)
}

// Registers. The first three keep their meaning through the program.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const REQUESTED: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Operations on the lower 32 bits, of `<linux/bpf.h>`.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const NOT_EQUAL: u8 = 0x56;
const ANY_BIT: u8 = 0x46;
const FROM_REGISTER: u8 = 0x08;

const JUMP_OVER_ANSWER: Instruction = Instruction { code: 0x05, registers: 0, offset: 2, immediate: 0 };
const EXIT: Instruction = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };

fn load(to: u8, from: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: from << 4 | to, offset, immediate: 0 }
}

fn register(operation: u8, to: u8, from: u8) -> Instruction {
    Instruction { code: operation | FROM_REGISTER, registers: from << 4 | to, offset: 0, immediate: 0 }
}

fn immediate(operation: u8, to: u8, value: i32) -> Instruction {
    Instruction { code: operation, registers: to, offset: 0, immediate: value }
}

fn jump_if(comparison: u8, left: u8, right: i32, offset: i16) -> Instruction {
    Instruction { code: comparison, registers: left, offset, immediate: right }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [immediate(MOVE, RESULT, i32::from(allow)), EXIT]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
        DeviceRule { allow, kind: Some(kind.to_owned()), major, minor, access: access.to_owned() }
    }

    fn lines(rules: &[DeviceRule]) -> Result<Vec<String>> {
        let settings = Policy::read(rules)?.settings()?;
        Ok(settings.iter().map(|setting| format!("{}={}", setting.files[0].0, setting.files[0].1)).collect())
    }

    #[test]
    fn v1_is_told_the_default_and_the_exceptions() {
        let null = rule(true, "c", Some(1), Some(3), "rwm");
        for (rules, expected) in [
            (vec![], &["devices.deny=a"][..]),
            (vec![null.clone()], &["devices.deny=a", "devices.allow=c 1:3 rwm"]),
            (vec![null.clone(), rule(false, "a", None, None, "rwm")], &["devices.deny=a"]),
            (vec![rule(true, "a", Some(-1), Some(-1), "mwr")], &["devices.allow=a"]),
            (
                vec![rule(true, "a", None, None, "rwm"), rule(false, "b", Some(8), None, "w")],
                &["devices.allow=a", "devices.deny=b 8:* w"],
            ),
            (
                vec![rule(true, "a", None, None, "m")],
                &["devices.deny=a", "devices.allow=c *:* m", "devices.allow=b *:* m"],
            ),
            (
                vec![null.clone(), rule(false, "c", Some(1), None, "w")],
                &["devices.deny=a", "devices.allow=c 1:3 rm"],
            ),
            (vec![null.clone(), rule(false, "c", None, None, "rwm")], &["devices.deny=a"]),
        ] {
            assert_eq!(lines(&rules).unwrap(), expected, "{rules:?}");
        }
    }

    #[test]
    fn v1_refuses_to_take_back_a_part() {
        let all_memory = rule(true, "c", Some(1), None, "rw");
        let error = lines(&[all_memory.clone(), rule(false, "c", Some(1), Some(8), "r")]).unwrap_err();
        assert!(error.to_string().contains("c 1:8 r"), "{error}");
        assert!(lines(&[all_memory, rule(false, "c", Some(1), Some(8), "m")]).is_ok());
    }

    /// Runs the instructions that [`Policy::program`] uses.
    fn run(program: &[Instruction], context: [u32; 3]) -> u32 {
        let mut registers = [0u32; 6];
        let mut next = 0;
        loop {
            let Instruction { code, registers: fields, offset, immediate } = program[next];
            let (to, from) = (usize::from(fields & 0xf), usize::from(fields >> 4));
            let value = immediate.cast_unsigned();
            next += 1;
            let jump = match code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = context[usize::try_from(offset).unwrap() / 4];
                    false
                }
                0xbc => {
                    registers[to] = registers[from];
                    false
                }
                MOVE => {
                    registers[to] = value;
                    false
                }
                AND => {
                    registers[to] &= value;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= value;
                    false
                }
                NOT_EQUAL => registers[to] != value,
                ANY_BIT => registers[to] & value != 0,
                0x05 => true,
                0x95 => return registers[0],
                _ => panic!("unknown instruction {code:#x}"),
            };
            if jump {
                next += usize::try_from(offset).unwrap();
            }
        }
    }

    fn any_rule() -> impl Strategy<Value = DeviceRule> {
        let number = || prop_oneof![Just(None), Just(Some(-1)), (0i64..4).prop_map(Some)];
        let access = prop::sample::select(vec!["r", "w", "m", "rw", "rm", "rwm"]);
        let kind = prop::sample::select(vec!["a", "c", "b"]);
        (any::<bool>(), kind, number(), number(), access)
            .prop_map(|(allow, kind, major, minor, access)| rule(allow, kind, major, minor, access))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The meaning of a list, said directly: each requested bit is decided by the last rule that has it.
        #[test]
        fn the_program_decides_each_bit_by_the_last_rule(
            rules in prop::collection::vec(any_rule(), 0..12),
            requested in 1u8..8, character in any::<bool>(), major in 0u32..5, minor in 0u32..5,
        ) {
            let speaks = |rule: &DeviceRule, bit: u8| {
                let number = |rule: Option<i64>, asked: u32| matches!(rule, None | Some(-1)) || rule == Some(asked.into());
                let kind = match rule.kind.as_deref() { Some("c") => character, Some("b") => !character, _ => true };
                kind && number(rule.major, major) && number(rule.minor, minor)
                    && super::access(&rule.access).unwrap() & bit != 0
            };
            let expected = [MKNOD, READ, WRITE].iter().filter(|&&bit| requested & bit != 0).all(|&bit| {
                rules.iter().rev().find(|rule| speaks(rule, bit)).is_some_and(|rule| rule.allow)
            });
            let program = Policy::read(&rules).unwrap().program();
            let kind = if character { Kind::Character } else { Kind::Block };
            let context = [u32::from(requested) << 16 | kind as u32, major, minor];
            prop_assert_eq!(run(&program, context) == 1, expected);
        }
    }

    #[test]
    fn rules_without_end_are_refused() {
        let rules = vec![rule(true, "c", Some(1), Some(3), "r"); MAX_RULES + 1];
        assert!(matches!(Policy::read(&rules), Err(Error::DeviceRule { .. })));
    }
}
