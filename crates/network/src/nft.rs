//! The nf_tables protocol: tables, chains, rules, sets and their elements as netlink messages, and batches of them.
//!
//! A batch is atomic: all of it or nothing. Everything in here is written in nft(8)'s words; the numbers are those of
//! `linux/netfilter/nf_tables.h`, and all of them travel in network byte order. Sets carry nft's own numbers of data types so that
//! `nft list ruleset` shows them as a person would have written them.

mod expression;

use linux::netlink::{APPEND, CREATE, Message, Protocol, Socket, attribute, text_of};
use rustix::io::Errno;

pub(crate) use expression::{Base, Expression, Verdict};

/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFT_MSG_…`
const NEW_TABLE: u8 = 0;
const DEL_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const GET_CHAIN: u8 = 4;
const NEW_RULE: u8 = 6;
const GET_RULE: u8 = 7;
const DEL_RULE: u8 = 8;
const NEW_SET: u8 = 9;
const NEW_ELEMENT: u8 = 12;
const DEL_ELEMENT: u8 = 14;
/// `NFTA_LIST_ELEM`, `NFTA_DATA_VALUE`
const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
/// `NFT_SET_MAP`
const SET_IS_MAP: u32 = 8;
/// Userdata of a rule: a comment, as nft(8) writes it.
const COMMENT: u8 = 0;
/// Userdata of a set, as nft(8) writes it: `NFTNL_UDATA_SET_KEYBYTEORDER`, four bytes, the host's.
const KEY_IN_HOST_ORDER: [u8; 6] = [0, 4, 1, 0, 0, 0];
/// One message holds what fits into an attribute's 16-bit length with room to spare.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// An address family of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Inet,
    Ip,
    Ip6,
}

/// Where a chain hooks into the way of packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    /// `nat` or `filter`
    pub(crate) kind: &'static str,
    /// `NF_INET_…`
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// `NF_INET_…`
pub(crate) const PRE_ROUTING: u32 = 0;
pub(crate) const FORWARD: u32 = 2;
pub(crate) const LOCAL_OUT: u32 = 3;
pub(crate) const POST_ROUTING: u32 = 4;
/// nft's names of priorities.
pub(crate) const DSTNAT: i32 = -100;
pub(crate) const FILTER: i32 = 0;
pub(crate) const SRCNAT: i32 = 100;

/// nft(8)'s numbers of data types, and their sizes in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataType {
    Ipv4,
    Ipv6,
    InetProtocol,
    InetService,
    InterfaceName,
}

/// A rule that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedRule {
    pub(crate) handle: u64,
    pub(crate) comment: String,
}

/// An element of a set: its key, and in maps what it leads to.
pub(crate) type Element = (Vec<u8>, Option<Vec<u8>>);

/// Changes that happen together.
#[derive(Debug)]
pub(crate) struct Batch {
    messages: Vec<Message>,
}

impl Family {
    /// `NFPROTO_…`
    fn number(self) -> u8 {
        match self {
            Family::Inet => 1,
            Family::Ip => 2,
            Family::Ip6 => 10,
        }
    }
}

impl DataType {
    fn number(self) -> u32 {
        match self {
            DataType::Ipv4 => 7,
            DataType::Ipv6 => 8,
            DataType::InetProtocol => 12,
            DataType::InetService => 13,
            DataType::InterfaceName => 41,
        }
    }

    fn size(self) -> u32 {
        match self {
            DataType::Ipv4 | DataType::InetProtocol | DataType::InetService => 4,
            DataType::Ipv6 | DataType::InterfaceName => 16,
        }
    }
}

/// A concatenation's number and size.
fn concatenated(types: &[DataType]) -> (u32, u32) {
    let number = types.iter().fold(0, |number, kind| number << 6 | kind.number());
    // A single interface name fills its sixteen bytes; all others are padded to registers.
    (number, types.iter().map(|kind| kind.size()).sum())
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch { messages: vec![bracket(BATCH_BEGIN)] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.len() == 1
    }

    pub(crate) fn add_table(&mut self, family: Family, table: &str) {
        self.messages.push(message(NEW_TABLE, family, CREATE).text(1, table).attribute(2, &[0; 4]));
    }

    pub(crate) fn delete_table(&mut self, family: Family, table: &str) {
        self.messages.push(message(DEL_TABLE, family, 0).text(1, table));
    }

    /// A chain that others jump to, or one at a hook; what no rule decides is accepted.
    pub(crate) fn add_chain(&mut self, family: Family, table: &str, chain: &str, hook: Option<Hook>) {
        let mut made = message(NEW_CHAIN, family, CREATE).text(1, table).text(3, chain);
        if let Some(hook) = hook {
            made = made
                .nested(4, |at| {
                    at.attribute(1, &hook.number.to_be_bytes()).attribute(2, &hook.priority.to_be_bytes())
                })
                .attribute(5, &1_u32.to_be_bytes())
                .text(7, hook.kind);
        }
        self.messages.push(made);
    }

    /// A rule at the end of its chain.
    pub(crate) fn add_rule(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
        expressions: &[Expression<'_>],
    ) {
        let made = message(NEW_RULE, family, CREATE | APPEND).text(1, table).text(2, chain);
        self.messages.push(expression::list(made, expressions));
    }

    /// A rule at the head of its chain, with a comment to know it by.
    pub(crate) fn insert_rule(
        &mut self,
        family: Family,
        (table, chain): (&str, &str),
        expressions: &[Expression<'_>],
        comment: &str,
    ) {
        let made = message(NEW_RULE, family, CREATE).text(1, table).text(2, chain);
        let mut data = vec![COMMENT, u8::try_from(comment.len() + 1).expect("comments are short")];
        data.extend_from_slice(comment.as_bytes());
        data.push(0);
        self.messages.push(expression::list(made, expressions).attribute(7, &data));
    }

    pub(crate) fn delete_rule(&mut self, family: Family, (table, chain): (&str, &str), handle: u64) {
        let gone = message(DEL_RULE, family, 0).text(1, table).text(2, chain);
        self.messages.push(gone.attribute(3, &handle.to_be_bytes()));
    }

    /// A set, or with `data` a map, whose elements come and go.
    pub(crate) fn add_set(
        &mut self,
        family: Family,
        (table, name): (&str, &str),
        key: &[DataType],
        data: Option<&[DataType]>,
    ) {
        let (key_type, key_size) = concatenated(key);
        // Sets of one batch are told apart by a number.
        let number = u32::try_from(self.messages.len()).expect("few messages");
        let flags = if data.is_some() { SET_IS_MAP } else { 0 };
        let mut made = message(NEW_SET, family, CREATE)
            .text(1, table)
            .text(2, name)
            .attribute(3, &flags.to_be_bytes())
            .attribute(4, &key_type.to_be_bytes())
            .attribute(5, &key_size.to_be_bytes())
            .attribute(10, &number.to_be_bytes());
        if key == [DataType::InterfaceName] {
            // Else nft takes the name for a number of the other byte order when it lists the set.
            made = made.attribute(13, &KEY_IN_HOST_ORDER);
        }
        if let Some(data) = data {
            let (data_type, data_size) = concatenated(data);
            made = made.attribute(6, &data_type.to_be_bytes()).attribute(7, &data_size.to_be_bytes());
        }
        self.messages.push(made);
    }

    /// Elements come.
    pub(crate) fn add_elements(&mut self, family: Family, set: (&str, &str), elements: &[Element]) {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.messages.push(list_elements(message(NEW_ELEMENT, family, CREATE), set, chunk));
        }
    }

    /// Elements go.
    pub(crate) fn delete_elements(&mut self, family: Family, set: (&str, &str), elements: &[Element]) {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.messages.push(list_elements(message(DEL_ELEMENT, family, 0), set, chunk));
        }
    }

    /// Has all of it done, or nothing.
    pub(crate) fn commit(mut self, socket: &Socket) -> linux::netlink::Result<()> {
        let mut acknowledged = vec![true; self.messages.len()];
        acknowledged[0] = false;
        self.messages.push(bracket(BATCH_END));
        acknowledged.push(false);
        socket.exchange(self.messages, &acknowledged)
    }
}

fn list_elements(message: Message, (table, set): (&str, &str), elements: &[Element]) -> Message {
    let value = |message: Message, kind, bytes: &[u8]| {
        message.nested(kind, |inner| inner.attribute(DATA_VALUE, bytes))
    };
    let element = |list: Message, (key, data): &Element| {
        list.nested(LIST_ELEMENT, |element| {
            let element = value(element, 1, key);
            data.iter().fold(element, |element, data| value(element, 2, data))
        })
    };
    message.text(1, table).text(2, set).nested(3, |list| elements.iter().fold(list, element))
}

/// A socket for batches, in the calling thread's network namespace.
pub(crate) fn open() -> rustix::io::Result<Socket> {
    Socket::open(Protocol::Netfilter)
}

/// Whether a chain is there.
pub(crate) fn has_chain(
    socket: &Socket,
    family: Family,
    table: &str,
    chain: &str,
) -> linux::netlink::Result<bool> {
    match socket.get(message(GET_CHAIN, family, 0).text(1, table).text(3, chain)) {
        Ok(_) => Ok(true),
        Err(error) if error.errno == Errno::NOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// The rules of a chain, with their comments.
pub(crate) fn rules(
    socket: &Socket,
    family: Family,
    table: &str,
    chain: &str,
) -> linux::netlink::Result<Vec<ListedRule>> {
    let question = message(GET_RULE, family, 0).text(1, table).text(2, chain);
    let answers = socket.dump(&question)?;
    Ok(answers.iter().filter_map(|(_, payload)| read_rule(payload, table, chain)).collect())
}

/// Kind of the change and name of the table in an event; nothing for what is no change of nf_tables.
pub(crate) fn changed_table(kind: u16, payload: &[u8]) -> Option<(u8, String)> {
    let [kind, subsystem] = kind.to_le_bytes();
    let is_ours = u16::from(subsystem) == SUBSYSTEM;
    // In tables, chains, rules and sets alike the table's name is the first attribute.
    is_ours.then(|| attribute(payload.get(4..)?, 1).map(|name| (kind, text_of(name))))?
}

fn read_rule(payload: &[u8], table: &str, chain: &str) -> Option<ListedRule> {
    let attributes = payload.get(4..)?;
    // Older kernels list all rules whatever was asked for.
    let is_asked =
        attribute(attributes, 1).map(text_of)? == table && attribute(attributes, 2).map(text_of)? == chain;
    let handle = attribute(attributes, 3)?.first_chunk().copied().map(u64::from_be_bytes)?;
    let comment = match attribute(attributes, 7) {
        Some([COMMENT, length, rest @ ..]) => text_of(rest.get(..usize::from(*length)).unwrap_or_default()),
        _ => String::new(),
    };
    is_asked.then_some(ListedRule { handle, comment })
}

fn message(kind: u8, family: Family, flags: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | u16::from(kind), flags).put(&[family.number(), 0, 0, 0])
}

fn bracket(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0).put(&[0, 0, high, low])
}
