//! Classic BPF, written from the end to the beginning.
//!
//! All jumps of classic BPF go forwards, so a program that is written backwards knows every distance when it needs
//! it, and one pass is enough. A node that was written before is used again, which merges what profiles repeat
//! (the same conditions in every ABI). A conditional jump reaches 255 instructions; what is further away is reached
//! through an unconditional one, or, if it is only a verdict, written again.

use std::collections::HashMap;

use linux::seccomp::SockFilter;

use super::{Error, Result};

/// Longest program that the kernel takes (`BPF_MAXINSNS`).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

// Instruction codes of `<linux/bpf_common.h>`.
pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const RETURN: u16 = 0x06;

/// What a conditional jump compares the accumulator with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// An instruction, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label(usize);

#[derive(PartialEq, Eq, Hash)]
enum Node {
    Return(u32),
    Branch(Test, u32, Label, Label),
    Straight(u16, u32, Label),
}

#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<SockFilter>,
    written: HashMap<Node, Label>,
}

impl Assembler {
    /// Ends the program with a verdict.
    pub(super) fn verdict(&mut self, value: u32) -> Label {
        let node = Node::Return(value);
        if let Some(&label) = self.written.get(&node) {
            return label;
        }
        let label = self.push(RETURN, value, 0, 0);
        self.written.insert(node, label);
        label
    }

    /// Goes to `yes` when the accumulator passes the test, else to `no`.
    pub(super) fn branch(&mut self, test: Test, operand: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let node = Node::Branch(test, operand, yes, no);
        if let Some(&label) = self.written.get(&node) {
            return label;
        }
        let (mut near_yes, mut near_no) = (yes, no);
        // Bringing one near pushes the other one away by an instruction, hence the loop; it ends because what was
        // brought near is adjacent.
        let (skip_yes, skip_no) = loop {
            match (self.distance(near_yes), self.distance(near_no)) {
                (Some(skip_yes), Some(skip_no)) => break (skip_yes, skip_no),
                (None, _) => near_yes = self.bring_near(near_yes),
                (_, None) => near_no = self.bring_near(near_no),
            }
        };
        let label = self.push(test as u16, operand, skip_yes, skip_no);
        self.written.insert(node, label);
        label
    }

    /// Loads the word at `offset` of the call's data and goes on with `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.straight(LOAD, offset, next)
    }

    /// Masks the accumulator and goes on with `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.straight(AND, mask, next)
    }

    /// The program that begins at `entry`.
    pub(super) fn finish(mut self, entry: Label) -> Result<Vec<SockFilter>> {
        if entry.0 + 1 != self.reversed.len() {
            self.bring_near(entry);
        }
        if self.reversed.len() > MAX_INSTRUCTIONS {
            return Err(Error::TooLarge { instructions: self.reversed.len() });
        }
        self.reversed.reverse();
        Ok(self.reversed)
    }

    fn straight(&mut self, code: u16, operand: u32, next: Label) -> Label {
        let node = Node::Straight(code, operand, next);
        if let Some(&label) = self.written.get(&node) {
            return label;
        }
        if next.0 + 1 != self.reversed.len() {
            self.bring_near(next);
        }
        let label = self.push(code, operand, 0, 0);
        self.written.insert(node, label);
        label
    }

    /// Writes an instruction right here that does what the one at `far` does.
    fn bring_near(&mut self, far: Label) -> Label {
        let target = self.reversed[far.0];
        if target.code == RETURN {
            return self.push(RETURN, target.k, 0, 0);
        }
        let skip = u32::try_from(self.reversed.len() - far.0 - 1).unwrap_or(u32::MAX);
        self.push(JUMP, skip, 0, 0)
    }

    /// Instructions between the next one to be written and `label`, when a conditional jump can skip them.
    fn distance(&self, label: Label) -> Option<u8> {
        u8::try_from(self.reversed.len() - label.0 - 1).ok()
    }

    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(SockFilter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
