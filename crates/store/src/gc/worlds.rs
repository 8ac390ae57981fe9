//! Random worlds of two namespaces: a collection must leave what a naive reading of the rules leaves.

use std::collections::BTreeSet;

use oci::digest::Digest;
use proptest::prelude::*;
use rusqlite::params;

use crate::records::{Labels, to_json};
use crate::{Commit, Store, Tx};

/// Of each kind in each namespace.
const EACH: usize = 5;
const NAMESPACES: [&str; 2] = ["one", "two"];
const PAST: &str = "2001-02-03T04:05:06Z";
const FUTURE: &str = "2201-02-03T04:05:06+02:00";

/// Something in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Container(usize),
    Content(usize),
    Image(usize),
    Ingest(usize),
    Sandbox(usize),
    Snapshot(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    Past,
    Future,
}

#[derive(Debug, Default)]
struct Lease {
    end: Option<End>,
    is_flat: bool,
    holds: Vec<Thing>,
}

/// A namespace. All relations are lists of pairs.
#[derive(Debug, Default)]
struct Space {
    rows: BTreeSet<Thing>,
    roots: Vec<Thing>,
    references: Vec<(Thing, Thing)>,
    back_references: Vec<(Thing, Thing)>,
    conditions: Vec<(Thing, usize)>,
    recently_used: BTreeSet<usize>,
    parts: Vec<(Thing, Thing)>,
    leases: Vec<Lease>,
    ends: Vec<(Thing, End)>,
}

#[derive(Debug, Default)]
struct World {
    spaces: [Space; 2],
    /// From blob to blob, as the engine has them.
    edges: Vec<(usize, usize)>,
}

/// Makes a thing of its number.
type Kind = fn(usize) -> Thing;

/// Choices, zero when they are used up.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(*self.0.next().unwrap_or(&0)) % bound
    }

    fn any_of(&mut self, kinds: &[Kind]) -> Thing {
        let kind = kinds[self.below(kinds.len())];
        kind(self.below(EACH))
    }

    fn end(&mut self) -> End {
        [End::Never, End::Past, End::Future][self.below(3)]
    }
}

const HELD: [Kind; 3] = [Thing::Content, Thing::Snapshot, Thing::Image];
const LABELLED: [Kind; 5] = [Thing::Content, Thing::Snapshot, Thing::Image, Thing::Container, Thing::Sandbox];

fn world(choices: &[u8]) -> World {
    let mut dice = Dice(choices.iter());
    let mut world = World::default();
    for _ in 0..dice.below(4) {
        world.edges.push((dice.below(EACH), dice.below(EACH)));
    }
    for space in &mut world.spaces {
        for _ in 0..dice.below(24) {
            let thing = dice.any_of(&[
                Thing::Content,
                Thing::Snapshot,
                Thing::Image,
                Thing::Content,
                Thing::Snapshot,
                Thing::Image,
                Thing::Container,
                Thing::Ingest,
                Thing::Sandbox,
            ]);
            if !space.rows.insert(thing) {
                continue;
            }
            match thing {
                Thing::Image(_) => {
                    space.parts.push((thing, Thing::Content(dice.below(EACH))));
                    space.ends.push((thing, dice.end()));
                }
                Thing::Ingest(_) => {
                    space.parts.push((thing, Thing::Content(dice.below(EACH))));
                    space.ends.push((thing, dice.end()));
                }
                Thing::Container(_) => space.parts.push((thing, Thing::Snapshot(dice.below(EACH)))),
                Thing::Snapshot(number) if number > 0 => {
                    let parent = Thing::Snapshot(dice.below(number));
                    if space.rows.contains(&parent) {
                        space.parts.push((thing, parent));
                    }
                }
                _ => {}
            }
        }
        for _ in 0..dice.below(3) {
            space.roots.push(dice.any_of(&HELD[..2]));
        }
        for _ in 0..dice.below(10) {
            space.references.push((dice.any_of(&LABELLED), dice.any_of(&HELD)));
        }
        for _ in 0..dice.below(6) {
            let that = dice.any_of(&[Thing::Content, Thing::Snapshot, Thing::Image, Thing::Container]);
            space.back_references.push((dice.any_of(&HELD), that));
        }
        for _ in 0..dice.below(3) {
            space.conditions.push((dice.any_of(&[Thing::Content, Thing::Image]), dice.below(EACH)));
            space.recently_used.insert(dice.below(EACH));
        }
        for _ in 0..dice.below(3) {
            let mut lease = Lease { end: Some(dice.end()), is_flat: dice.below(2) == 1, holds: Vec::new() };
            for _ in 0..dice.below(4) {
                lease.holds.push(dice.any_of(&[
                    Thing::Content,
                    Thing::Snapshot,
                    Thing::Image,
                    Thing::Ingest,
                ]));
            }
            space.leases.push(lease);
        }
    }
    world
}

impl Space {
    fn ends(&self, thing: Thing) -> End {
        self.ends.iter().find(|(one, _)| *one == thing).map_or(End::Never, |(_, end)| *end)
    }

    fn has(&self, thing: Thing) -> bool {
        self.rows.contains(&thing)
    }

    /// By itself.
    fn is_root(&self, thing: Thing) -> bool {
        let is_listed = self.roots.contains(&thing) && self.has(thing);
        let is_leased = self
            .leases
            .iter()
            .any(|lease| lease.end != Some(End::Past) && !lease.is_flat && lease.holds.contains(&thing));
        let by_kind = match thing {
            Thing::Container(_) | Thing::Sandbox(_) => self.has(thing),
            Thing::Image(_) => self.has(thing) && self.ends(thing) != End::Past,
            Thing::Ingest(_) => self.has(thing) && self.ends(thing) == End::Future,
            Thing::Content(_) | Thing::Snapshot(_) => false,
        };
        is_listed || is_leased || by_kind
    }

    /// What is kept: found by asking of each thing, again and again, whether something that is kept keeps it.
    fn kept(&self, edges: &[(usize, usize)]) -> BTreeSet<Thing> {
        let kinds =
            [Thing::Container, Thing::Content, Thing::Image, Thing::Ingest, Thing::Sandbox, Thing::Snapshot];
        let all: Vec<Thing> = kinds.iter().flat_map(|kind| (0..EACH).map(kind)).collect();
        let (mut whole, mut flat) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let before = (whole.len(), flat.len());
            for &thing in &all {
                let by_part = |kept: &BTreeSet<Thing>| {
                    self.parts
                        .iter()
                        .any(|(one, part)| *part == thing && self.has(*one) && kept.contains(one))
                };
                let is_leased = self.leases.iter().any(|lease| {
                    lease.end != Some(End::Past) && lease.is_flat && lease.holds.contains(&thing)
                });
                if is_leased || by_part(&flat) {
                    flat.insert(thing);
                }
                let by_reference = self
                    .references
                    .iter()
                    .any(|(one, other)| *other == thing && self.has(*one) && whole.contains(one));
                let by_back_reference = self
                    .back_references
                    .iter()
                    .any(|(one, other)| *one == thing && self.has(thing) && whole.contains(other));
                let by_condition = self.conditions.iter().any(|(one, snapshot)| {
                    let other = Thing::Snapshot(*snapshot);
                    let is_so = self.has(other) && self.recently_used.contains(snapshot);
                    other == thing && is_so && self.has(*one) && whole.contains(one)
                });
                let by_edge = edges.iter().any(|(one, other)| {
                    thing == Thing::Content(*other) && whole.contains(&Thing::Content(*one))
                });
                if self.is_root(thing)
                    || by_part(&whole)
                    || by_reference
                    || by_back_reference
                    || by_condition
                    || by_edge
                {
                    whole.insert(thing);
                }
            }
            if (whole.len(), flat.len()) == before {
                return &whole | &flat;
            }
        }
    }

    /// The labels of a thing, in some of the ways in which they can be written.
    fn labels(&self, thing: Thing) -> Labels {
        let mut labels = Labels::new();
        let mut say =
            |key: String, value: &str| labels.insert(format!("containerd.io/gc.{key}"), value.into());
        if self.roots.contains(&thing) {
            say("root".into(), "now");
        }
        for (number, (one, other)) in self.references.iter().enumerate() {
            if *one == thing {
                say(format!("ref.{}/{number}", kind(*other)), &key(*other));
            }
        }
        for (number, (one, other)) in self.back_references.iter().enumerate() {
            if *one == thing {
                say(format!("bref.{}/x.{number}", kind(*other)), &key(*other));
            }
        }
        for (number, (one, snapshot)) in self.conditions.iter().enumerate() {
            if *one == thing {
                let value = format!("usedat>500000h,usedat<1h|{}", key(Thing::Snapshot(*snapshot)));
                say(format!("cond.snapshot.overlayfs/{number}"), &value);
            }
        }
        match thing {
            Thing::Snapshot(number) if self.recently_used.contains(&number) => {
                say("cond.value-usedat".into(), FUTURE);
            }
            Thing::Snapshot(_) => drop(say("cond.value-usedat".into(), PAST)),
            Thing::Image(_) => end(&mut labels, self.ends(thing)),
            _ => {}
        }
        labels
    }
}

fn end(labels: &mut Labels, end: End) {
    let value = match end {
        End::Never => return,
        End::Past => PAST,
        End::Future => FUTURE,
    };
    labels.insert("containerd.io/gc.expire".into(), value.into());
}

fn kind(thing: Thing) -> &'static str {
    match thing {
        Thing::Container(_) => "container",
        Thing::Content(_) => "content",
        Thing::Image(_) => "image",
        Thing::Ingest(_) => "ingest",
        Thing::Sandbox(_) => "sandbox",
        Thing::Snapshot(_) => "snapshot.overlayfs",
    }
}

fn key(thing: Thing) -> String {
    match thing {
        Thing::Content(number) => digest(number).to_string(),
        Thing::Container(number)
        | Thing::Image(number)
        | Thing::Ingest(number)
        | Thing::Sandbox(number)
        | Thing::Snapshot(number) => format!("{}-{number}", kind(thing)),
    }
}

fn digest(number: usize) -> Digest {
    Digest::of(&bytes(number))
}

fn bytes(number: usize) -> [u8; 1] {
    [u8::try_from(number).unwrap()]
}

fn write(tx: &Tx<'_>, number: usize, space: &Space) -> rusqlite::Result<()> {
    let (namespace, connection) = (NAMESPACES[number], tx.connection);
    let part = |thing| space.parts.iter().find(|(one, _)| *one == thing).map(|(_, part)| key(*part));
    for &thing in &space.rows {
        let (key, labels) = (key(thing), to_json(&space.labels(thing)));
        let part = part(thing);
        match thing {
            Thing::Container(_) => connection.execute(
                "INSERT INTO space_containers VALUES (?1, ?2, '', 'r', 'overlayfs', ?3, '', 1, 1, ?4, '{}')",
                params![namespace, key, part, labels],
            )?,
            Thing::Content(_) => connection.execute(
                "INSERT INTO space_content VALUES (?1, ?2, 1, 1, 1, ?3)",
                params![namespace, key, labels],
            )?,
            Thing::Image(_) => connection.execute(
                "INSERT INTO images VALUES (?1, ?2, '{}', ?3, 1, 1, ?4)",
                params![namespace, key, part, labels],
            )?,
            Thing::Ingest(number) => connection.execute(
                "INSERT INTO space_ingests VALUES (?1, ?2, ?3, 0, ?4, 1, 1, ?5)",
                params![
                    namespace,
                    key,
                    format!("{namespace}-{number}"),
                    part,
                    match space.ends(thing) {
                        End::Never => None,
                        End::Past => Some(1),
                        End::Future => Some(i64::MAX),
                    }
                ],
            )?,
            Thing::Sandbox(_) => connection.execute(
                "INSERT INTO space_sandboxes VALUES (?1, ?2, 1, 1, ?3, '{}')",
                params![namespace, key, labels],
            )?,
            Thing::Snapshot(index) => {
                let backend = format!("{namespace}/{key}");
                let below = part.as_ref().map(|parent| format!("{namespace}/{parent}"));
                let kind = if index % 2 == 0 { "committed" } else { "active" };
                connection.execute(
                    "INSERT INTO snapshots VALUES ('overlay', ?1, ?2, ?3, ?4, 0, 1, 1, '{}')",
                    params![backend, i64::try_from(number * EACH + index).unwrap() + 1_000_000, below, kind],
                )?;
                connection.execute(
                    "INSERT INTO space_snapshots VALUES (?1, 'overlayfs', ?2, ?3, ?4, 1, 1, ?5)",
                    params![namespace, key, backend, part, labels],
                )?
            }
        };
    }
    Ok(())
}

fn write_leases(tx: &Tx<'_>, number: usize, space: &Space) -> rusqlite::Result<()> {
    let (namespace, connection) = (NAMESPACES[number], tx.connection);
    for (index, lease) in space.leases.iter().enumerate() {
        let (id, mut labels) = (format!("lease-{index}"), Labels::new());
        end(&mut labels, lease.end.unwrap_or(End::Never));
        if lease.is_flat {
            labels.insert("containerd.io/gc.flat".into(), "yes".into());
        }
        let row = params![namespace, id, to_json(&labels)];
        connection.execute("INSERT INTO space_leases VALUES (?1, ?2, 1, ?3)", row)?;
        for thing in &lease.holds {
            let kind = match thing {
                Thing::Content(_) => "content",
                Thing::Image(_) => "images",
                Thing::Ingest(_) => "ingests",
                _ => "snapshots/overlayfs",
            };
            let row = params![namespace, id, kind, key(*thing)];
            connection.execute("INSERT OR IGNORE INTO space_leased VALUES (?1, ?2, ?3, ?4)", row)?;
        }
    }
    Ok(())
}

/// What is there of some kind, as `namespace name`.
fn names(store: &Store, sql: &'static str) -> BTreeSet<String> {
    let read = store.read(|tx| {
        let mut statement = tx.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    });
    read.unwrap()
}

const TABLES: [(&str, Kind); 4] = [
    ("SELECT namespace || ' ' || digest FROM space_content", Thing::Content),
    ("SELECT namespace || ' ' || name FROM images", Thing::Image),
    ("SELECT namespace || ' ' || ref FROM space_ingests", Thing::Ingest),
    ("SELECT namespace || ' ' || key FROM space_snapshots", Thing::Snapshot),
];

fn check(store: &Store, world: World) {
    for number in 0..EACH {
        drop(store.content().put(&bytes(number)).unwrap().1);
    }
    let kept: Vec<BTreeSet<Thing>> = world.spaces.iter().map(|space| space.kept(&world.edges)).collect();
    let expected = |kind: Kind| -> BTreeSet<String> {
        let named = (0..2).flat_map(|number| {
            let (space, kept) = (&world.spaces[number], &kept[number]);
            let things = (0..EACH).map(kind).filter(|thing| space.has(*thing) && kept.contains(thing));
            things.map(move |thing| format!("{} {}", NAMESPACES[number], key(thing)))
        });
        named.collect()
    };
    let wanted: Vec<BTreeSet<String>> = TABLES.iter().map(|(_, kind)| expected(*kind)).collect();
    let leases: usize = world
        .spaces
        .iter()
        .flat_map(|space| &space.leases)
        .filter(|lease| lease.end != Some(End::Past))
        .count();
    let blobs: BTreeSet<Digest> = (0..EACH)
        .filter(|number| kept.iter().any(|kept| kept.contains(&Thing::Content(*number))))
        .map(digest)
        .collect();
    let backends: BTreeSet<String> = wanted[3].iter().map(|name| name.replace(' ', "/")).collect();
    let told = format!("{world:#?}");
    store
        .write(Commit::Ordered, move |tx| {
            for (from, to) in &world.edges {
                let row = [digest(*from), digest(*to)].map(|digest| digest.to_string());
                tx.connection.execute("INSERT OR IGNORE INTO edges VALUES (?1, 'blob', ?2)", row)?;
            }
            for (number, space) in world.spaces.iter().enumerate() {
                write(tx, number, space)?;
                write_leases(tx, number, space)?;
            }
            Ok(())
        })
        .unwrap();
    let report = store.gc().unwrap();
    for ((sql, _), wanted) in TABLES.iter().zip(&wanted) {
        assert_eq!(&names(store, sql), wanted, "{sql}\n{told}");
    }
    assert_eq!(names(store, "SELECT namespace || ' ' || id FROM space_leases").len(), leases, "{told}");
    let left: BTreeSet<Digest> =
        store.content().list().unwrap().into_iter().map(|blob| blob.digest).collect();
    assert_eq!(left, blobs, "{told}");
    assert_eq!(names(store, "SELECT name FROM snapshots"), backends, "{told}");
    assert!(store.gc().unwrap().removed.is_empty(), "a second collection finds nothing, after {report:?}");
}

fn clear(store: &Store) {
    store
        .write(Commit::Ordered, |tx| {
            for table in [
                "edges",
                "images",
                "snapshots",
                "space_content",
                "space_ingests",
                "space_snapshots",
                "space_leases",
                "space_leased",
                "space_containers",
                "space_sandboxes",
            ] {
                tx.connection.execute(&format!("DELETE FROM {table}"), [])?;
            }
            Ok(())
        })
        .unwrap();
    store.gc().unwrap();
}

#[test]
fn a_collection_leaves_what_the_rules_leave() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    let choices = proptest::collection::vec(any::<u8>(), 0..300);
    let run = runner.run(&choices, |choices| {
        clear(&store);
        check(&store, world(&choices));
        Ok(())
    });
    run.unwrap();
}
