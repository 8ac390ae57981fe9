//! What labels tell the garbage collection, in the language of containerd's clients. All begin with `containerd.io/`:
//!
//! | label | value | meaning |
//! |---|---|---|
//! | `gc.root` | any | held by itself (content, snapshots) |
//! | `gc.expire` | a time | until then a lease holds, an image is held by itself |
//! | `gc.flat` | any | a lease holds without references |
//! | `gc.ref.content`, `gc.ref.image`, and `.name` or `/name` | digest, name | held with this |
//! | `gc.ref.snapshot.<snapshotter>`, and `/name` | key | held with this |
//! | `gc.bref.container`, `.content`, `.image`, `.snapshot.<snapshotter>` | as above | this is held with that |
//! | `gc.cond.snapshot.<snapshotter>` | `usedat<24h\|key` | held with this while the snapshot's `gc.cond.value-usedat` is so |

use jiff::Timestamp;

use super::graph::{Name, Thing};
use crate::records::Labels;

/// What a label says of the thing that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    Root,
    /// This one holds that one.
    Holds(Thing),
    /// That one holds this one.
    HeldBy(Thing),
    /// This one holds a snapshot, if what that says of itself is so.
    HoldsIf(Thing, UsedAt),
    /// When it was used last, for those conditions.
    Used(i64),
}

/// A condition on the time of the last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsedAt {
    /// Less than so many nanoseconds ago.
    Within(i64),
    Before(i64),
}

const PREFIX: &str = "containerd.io/gc.";
const EXPIRE: &str = "containerd.io/gc.expire";
const FLAT: &str = "containerd.io/gc.flat";

/// The rules in the labels of something in `namespace`.
pub(super) fn rules(namespace: &str, labels: &Labels) -> Vec<Rule> {
    let of_gc = labels.iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
    of_gc.flat_map(|(key, value)| rule(namespace, key, value)).collect()
}

/// The time that something ends, if it does. A value that is no time is no end.
pub(super) fn expires_ns(labels: &Labels) -> Option<i64> {
    labels.get(EXPIRE).and_then(|text| time(text))
}

/// Whether a lease holds without references.
pub(super) fn is_flat(labels: &Labels) -> bool {
    labels.contains_key(FLAT)
}

impl UsedAt {
    /// Whether it is so for something that was used then.
    pub(super) fn holds(self, used_ns: i64, now_ns: i64) -> bool {
        let age = now_ns.saturating_sub(used_ns);
        match self {
            UsedAt::Within(limit) => age < limit,
            UsedAt::Before(limit) => age > limit,
        }
    }
}

fn rule(namespace: &str, key: &str, value: &str) -> Vec<Rule> {
    if key.starts_with("root") {
        return vec![Rule::Root];
    }
    if key.starts_with("cond.value-usedat") {
        return time(value).map(Rule::Used).into_iter().collect();
    }
    if let Some(rest) = key.strip_prefix("cond.snapshot") {
        return conditions(namespace, rest.trim_start_matches(['.', '/']), value);
    }
    let name = Name::new(namespace, value);
    let (way, object): (fn(Thing) -> Rule, &str) = match key.split_once('.') {
        Some(("ref", object)) => (Rule::Holds, object),
        Some(("bref", object)) => (Rule::HeldBy, object),
        _ => return Vec::new(),
    };
    let thing = if let Some(rest) = object.strip_prefix("snapshot.") {
        Thing::Snapshot { snapshotter: first(rest), name }
    } else if is_named(object, "content") {
        Thing::Content(name)
    } else if is_named(object, "image") {
        Thing::Image(name)
    } else if is_named(object, "container") && key.starts_with("bref") {
        Thing::Container(name)
    } else {
        return Vec::new();
    };
    vec![way(thing)]
}

/// `usedat<1h,usedat>48h|key`: any of them suffices.
fn conditions(namespace: &str, snapshotter: &str, value: &str) -> Vec<Rule> {
    let Some((conditions, key)) = value.split_once('|') else { return Vec::new() };
    let snapshot = Thing::Snapshot { snapshotter: first(snapshotter), name: Name::new(namespace, key) };
    let condition = |text: &str| {
        let rest = text.strip_prefix("usedat")?;
        match rest.split_at_checked(1)? {
            ("<", length) => Some(UsedAt::Within(duration_ns(length)?)),
            (">", length) => Some(UsedAt::Before(duration_ns(length)?)),
            _ => None,
        }
    };
    conditions
        .split(',')
        .filter_map(condition)
        .map(|condition| Rule::HoldsIf(snapshot.clone(), condition))
        .collect()
}

/// `content`, `content.name` and `content/name`.
fn is_named(object: &str, kind: &str) -> bool {
    object.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
}

fn first(path: &str) -> String {
    path.split('/').next().unwrap_or_default().to_owned()
}

fn time(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

/// A length of time as Go writes it: `36h`, `1h30m`, `1.5s`.
fn duration_ns(text: &str) -> Option<i64> {
    let length = api::docker::moment::parse_duration(text)?;
    i64::try_from(length).ok().filter(|length| *length >= 0)
}

#[cfg(test)]
mod tests {
    use super::{Name, Rule, Thing, UsedAt, duration_ns, rules};
    use crate::records::Labels;

    fn told(key: &str, value: &str) -> Vec<Rule> {
        rules("n", &Labels::from([(format!("containerd.io/gc.{key}"), value.to_owned())]))
    }

    fn snapshot(snapshotter: &str, key: &str) -> Thing {
        Thing::Snapshot { snapshotter: snapshotter.into(), name: Name::new("n", key) }
    }

    #[test]
    fn labels_are_read_as_containerd_reads_them() {
        let name = Name::new("n", "v");
        let cases = [
            ("root", vec![Rule::Root]),
            ("root.x", vec![Rule::Root]),
            ("ref.content", vec![Rule::Holds(Thing::Content(name.clone()))]),
            ("ref.content.l.0", vec![Rule::Holds(Thing::Content(name.clone()))]),
            ("ref.content/x", vec![Rule::Holds(Thing::Content(name.clone()))]),
            ("ref.contents", vec![]),
            ("ref.image.x", vec![Rule::Holds(Thing::Image(name.clone()))]),
            ("ref.snapshot.overlayfs", vec![Rule::Holds(snapshot("overlayfs", "v"))]),
            ("ref.snapshot.a.b/x/y", vec![Rule::Holds(snapshot("a.b", "v"))]),
            ("ref.container", vec![]),
            ("ref.stream", vec![]),
            ("bref.container.x", vec![Rule::HeldBy(Thing::Container(name.clone()))]),
            ("bref.content", vec![Rule::HeldBy(Thing::Content(name.clone()))]),
            ("bref.image/x", vec![Rule::HeldBy(Thing::Image(name))]),
            ("bref.snapshot.native/x", vec![Rule::HeldBy(snapshot("native", "v"))]),
            ("flat", vec![]),
            ("expire", vec![]),
        ];
        for (key, expected) in cases {
            assert_eq!(told(key, "v"), expected, "{key}");
        }
    }

    #[test]
    fn conditions_are_any_of_some() {
        let hour = 3_600_000_000_000;
        let within = Rule::HoldsIf(snapshot("overlayfs", "k|1"), UsedAt::Within(hour));
        let before = Rule::HoldsIf(snapshot("overlayfs", "k|1"), UsedAt::Before(36 * hour));
        let value = "usedat<1h,usedat>36h,usedat=1h,other<1h,usedat<x|k|1";
        for key in ["cond.snapshot.overlayfs", "cond.snapshot/overlayfs/name"] {
            assert_eq!(told(key, value), [within.clone(), before.clone()]);
        }
        assert!(told("cond.snapshot.overlayfs", "usedat<1h").is_empty());
        assert_eq!(told("cond.value-usedat", "1970-01-01T00:00:01Z"), [Rule::Used(1_000_000_000)]);
        assert!(told("cond.value-usedat", "yesterday").is_empty());
        assert!(UsedAt::Within(10).holds(5, 14) && !UsedAt::Within(10).holds(5, 15));
        assert!(UsedAt::Before(10).holds(5, 16) && !UsedAt::Before(10).holds(5, 15));
    }

    #[test]
    fn lengths_of_time_are_gos() {
        for (text, expected) in [
            ("24h", Some(86_400_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("7us8ns", Some(7_008)),
            ("", None),
            ("h", None),
            ("5", None),
            ("5d", None),
        ] {
            assert_eq!(duration_ns(text), expected, "{text}");
        }
    }
}
