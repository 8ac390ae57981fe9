//! Messages as JSON in the names of their fields, read off the wire by tables: what a daemon newer than this client says
//! besides is left out, and nothing that it says is lost for want of a type here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::documents;

/// What a field holds. Fields that are empty are not shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Number,
    /// A list of them, packed.
    Numbers,
    Real,
    Switch,
    Time,
    Labels,
    Opaque,
    One(&'static [Field]),
    Many(&'static [Field]),
}

/// Its number, its name and what it holds.
pub(crate) type Field = (u32, &'static str, Kind);

/// A message by its fields; `None` when it is none of that kind.
pub(crate) fn message(fields: &[Field], bytes: &[u8]) -> Option<Value> {
    let mut found: BTreeMap<u32, Value> = BTreeMap::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, wire) = next(&mut rest)?;
        let Some((_, _, kind)) = fields.iter().find(|field| field.0 == number) else { continue };
        let value = match (kind, wire) {
            (Kind::Text, Wire::Bytes(bytes)) => std::str::from_utf8(bytes).ok()?.into(),
            (Kind::Number, Wire::Number(number)) => number.into(),
            (Kind::Numbers, Wire::Bytes(bytes)) => numbers(bytes)?.into(),
            (Kind::Real, Wire::Real(number)) => number.into(),
            (Kind::Switch, Wire::Number(number)) => (number != 0).into(),
            (Kind::Time, Wire::Bytes(bytes)) => {
                let time: prost_types::Timestamp = prost::Message::decode(bytes).ok()?;
                let parts = [("seconds", time.seconds), ("nanos", time.nanos.into())];
                let parts = parts.into_iter().filter(|(_, part)| *part != 0);
                parts.map(|(name, part)| (name.to_owned(), part.into())).collect::<Map<_, _>>().into()
            }
            (Kind::Labels, Wire::Bytes(bytes)) => {
                let pair = message(&[(1, "key", Kind::Text), (2, "value", Kind::Text)], bytes)?;
                let text = |name: &str| pair[name].as_str().unwrap_or_default().to_owned();
                let mut labels = found.remove(&number).unwrap_or_else(|| Map::new().into());
                labels[text("key")] = text("value").into();
                labels
            }
            (Kind::Opaque, Wire::Bytes(bytes)) => documents::opaque(&prost::Message::decode(bytes).ok()?),
            (Kind::One(fields), Wire::Bytes(bytes)) => message(fields, bytes)?,
            (Kind::Many(fields), Wire::Bytes(bytes)) => {
                let mut list = found.remove(&number).unwrap_or_else(|| Vec::<Value>::new().into());
                list.as_array_mut()?.push(message(fields, bytes)?);
                list
            }
            _ => return None,
        };
        // A repeated text is a list; what comes once is itself.
        match found.remove(&number) {
            Some(Value::Array(mut list)) => {
                list.push(value);
                found.insert(number, list.into());
            }
            Some(before) => drop(found.insert(number, vec![before, value].into())),
            None => drop(found.insert(number, value)),
        }
    }
    let named =
        fields.iter().filter_map(|(number, name, _)| Some(((*name).to_owned(), found.remove(number)?)));
    Some(named.collect::<Map<_, _>>().into())
}

fn numbers(mut bytes: &[u8]) -> Option<Vec<u64>> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        list.push(prost::encoding::decode_varint(&mut bytes).ok()?);
    }
    Some(list)
}

enum Wire<'a> {
    Number(u64),
    Real(f64),
    Bytes(&'a [u8]),
}

/// The next field of a message.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u32, Wire<'a>)> {
    let key = prost::encoding::decode_varint(rest).ok()?;
    let wire = match key & 7 {
        0 => Wire::Number(prost::encoding::decode_varint(rest).ok()?),
        1 => {
            let (bytes, after) = rest.split_first_chunk()?;
            *rest = after;
            Wire::Real(f64::from_le_bytes(*bytes))
        }
        2 => {
            let length = usize::try_from(prost::encoding::decode_varint(rest).ok()?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Wire::Bytes(bytes)
        }
        _ => return None,
    };
    Some((u32::try_from(key >> 3).ok()?, wire))
}
