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
    pub(super) fn settings(&self) -> Vec<Setting> {
        let file = |allow| if allow { "devices.allow" } else { "devices.deny" };
        let default = Setting::new(V1, "devices", file(self.allow_by_default), "a");
        let rules = self.rules.iter().map(|rule| Setting::new(V1, "devices", file(rule.allow), rule.line()));
        std::iter::once(default).chain(rules).collect()
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
