//! What rules are made of: expressions that load, compare and decide.
//!
//! Values pass through registers of four bytes, sixteen of them; an expression that loads a longer value fills several. A rule
//! goes on to its next expression as long as every comparison holds.

use linux::netlink::Message;

use super::{DATA_VALUE, LIST_ELEMENT};

/// `NFT_REG32_00`: registers are numbered from here.
const FIRST_REGISTER: u32 = 8;
/// `NFT_REG_VERDICT`
const VERDICT_REGISTER: u32 = 0;
/// `NFTA_DATA_VERDICT`
const DATA_VERDICT: u16 = 2;
/// `NFT_META_…`
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// `NFT_CT_STATE`, `NFT_CT_STATUS`
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_DADDR`
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
/// `NFT_NAT_DNAT`
const DNAT: u32 = 1;

/// Which header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Network,
    Transport,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Accept,
    Drop,
    Return,
    Jump(&'a str),
}

/// One step of a rule. Registers are numbered from 0.
#[derive(Debug, Clone)]
pub(crate) enum Expression<'a> {
    IncomingInterface {
        register: u32,
    },
    OutgoingInterface {
        register: u32,
    },
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`, one byte.
    NetworkProtocol {
        register: u32,
    },
    /// `IPPROTO_…`, one byte.
    TransportProtocol {
        register: u32,
    },
    Payload {
        register: u32,
        base: Base,
        offset: u32,
        length: u32,
    },
    /// Goes on if the register has this value.
    Equal {
        register: u32,
        value: Vec<u8>,
    },
    Unequal {
        register: u32,
        value: Vec<u8>,
    },
    Mask {
        register: u32,
        mask: Vec<u8>,
    },
    /// Bits of `NF_CT_STATE_BIT`.
    ConnectionState {
        register: u32,
    },
    /// Bits of `IPS_…`.
    ConnectionStatus {
        register: u32,
    },
    /// `RTN_…` of the destination.
    DestinationType {
        register: u32,
    },
    /// Goes on if the set has the key at this register.
    In {
        set: &'a str,
        register: u32,
    },
    /// Goes on if the map has the key, with its value at another register.
    Map {
        map: &'a str,
        key: u32,
        value: u32,
    },
    /// The destination becomes what the registers say; the port may be left as it is.
    DestinationNat {
        family: u8,
        address: u32,
        port: u32,
    },
    Immediate {
        register: u32,
        value: Vec<u8>,
    },
    Masquerade,
    Counter,
    Verdict(Verdict<'a>),
}

/// Adds the expressions of a rule to its message.
pub(super) fn list(message: Message, expressions: &[Expression<'_>]) -> Message {
    message.nested(4, |list| {
        expressions.iter().fold(list, |list, expression| {
            list.nested(LIST_ELEMENT, |element| {
                element.text(1, expression.name()).nested(2, |data| expression.encode(data))
            })
        })
    })
}

impl Expression<'_> {
    /// The kernel's name of the kind.
    fn name(&self) -> &'static str {
        match self {
            Expression::IncomingInterface { .. }
            | Expression::OutgoingInterface { .. }
            | Expression::NetworkProtocol { .. }
            | Expression::TransportProtocol { .. } => "meta",
            Expression::Payload { .. } => "payload",
            Expression::Equal { .. } | Expression::Unequal { .. } => "cmp",
            Expression::Mask { .. } => "bitwise",
            Expression::ConnectionState { .. } | Expression::ConnectionStatus { .. } => "ct",
            Expression::DestinationType { .. } => "fib",
            Expression::In { .. } | Expression::Map { .. } => "lookup",
            Expression::DestinationNat { .. } => "nat",
            Expression::Immediate { .. } | Expression::Verdict(_) => "immediate",
            Expression::Masquerade => "masq",
            Expression::Counter => "counter",
        }
    }

    fn encode(&self, data: Message) -> Message {
        let number = |value: u32| value.to_be_bytes();
        let at = |register: &u32| number(FIRST_REGISTER + register);
        let meta =
            |data: Message, register: &u32, key| data.attribute(1, &at(register)).attribute(2, &number(key));
        let compare = |data: Message, register: &u32, operation, value: &[u8]| {
            data.attribute(1, &at(register))
                .attribute(2, &number(operation))
                .nested(3, |inner| inner.attribute(DATA_VALUE, value))
        };
        match self {
            Expression::IncomingInterface { register } => meta(data, register, META_IIFNAME),
            Expression::OutgoingInterface { register } => meta(data, register, META_OIFNAME),
            Expression::NetworkProtocol { register } => meta(data, register, META_NFPROTO),
            Expression::TransportProtocol { register } => meta(data, register, META_L4PROTO),
            Expression::Payload { register, base, offset, length } => data
                .attribute(1, &at(register))
                .attribute(2, &number(if *base == Base::Network { 1 } else { 2 }))
                .attribute(3, &number(*offset))
                .attribute(4, &number(*length)),
            Expression::Equal { register, value } => compare(data, register, 0, value),
            Expression::Unequal { register, value } => compare(data, register, 1, value),
            Expression::Mask { register, mask } => mask_with(data, at(register), mask),
            Expression::ConnectionState { register } => meta(data, register, CT_STATE),
            Expression::ConnectionStatus { register } => meta(data, register, CT_STATUS),
            Expression::DestinationType { register } => data
                .attribute(1, &at(register))
                .attribute(2, &number(FIB_ADDRESS_TYPE))
                .attribute(3, &number(FIB_DESTINATION)),
            Expression::In { set, register } => data.text(1, set).attribute(2, &at(register)),
            Expression::Map { map, key, value } => {
                data.text(1, map).attribute(2, &at(key)).attribute(3, &at(value))
            }
            Expression::DestinationNat { family, address, port } => data
                .attribute(1, &number(DNAT))
                .attribute(2, &number((*family).into()))
                .attribute(3, &at(address))
                .attribute(5, &at(port)),
            Expression::Immediate { register, value } => {
                data.attribute(1, &at(register)).nested(2, |inner| inner.attribute(DATA_VALUE, value))
            }
            Expression::Masquerade | Expression::Counter => data,
            Expression::Verdict(verdict) => data
                .attribute(1, &number(VERDICT_REGISTER))
                .nested(2, |inner| inner.nested(DATA_VERDICT, |inner| verdict.encode(inner))),
        }
    }
}

/// Bitwise and with `mask`, in place.
fn mask_with(data: Message, register: [u8; 4], mask: &[u8]) -> Message {
    let length = u32::try_from(mask.len()).expect("at most sixteen bytes");
    data.attribute(1, &register)
        .attribute(2, &register)
        .attribute(3, &length.to_be_bytes())
        .nested(4, |inner| inner.attribute(DATA_VALUE, mask))
        .nested(5, |inner| inner.attribute(DATA_VALUE, &vec![0; mask.len()]))
}

impl Verdict<'_> {
    fn encode(self, data: Message) -> Message {
        let code = |code: i32| code.to_be_bytes();
        match self {
            Verdict::Drop => data.attribute(1, &code(0)),
            Verdict::Accept => data.attribute(1, &code(1)),
            Verdict::Jump(chain) => data.attribute(1, &code(-3)).text(2, chain),
            Verdict::Return => data.attribute(1, &code(-5)),
        }
    }
}
