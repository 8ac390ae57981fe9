//! Names of containers: what is allowed, and what is made up when nobody gives one.

use crate::error::{Error, Result};

/// Longest name: it becomes a host name's neighbour in too many places to be unbounded.
const MAX_LENGTH: usize = 255;

const ADJECTIVES: &str = "\
    amber annealed balanced bold bright brisk burnished calm cast clever cobalt copper crisp daring deep \
    ductile earnest fluent forged frank gentle gilded golden hardened honest humble iron keen lively \
    lucid malleable mellow modest molten nimble patient polished quiet riveted rolled rugged sincere \
    sturdy supple tempered tireless warm weathered";

/// Engineers, metallurgists, computer scientists.
const SURNAMES: &str = "\
    ada aho bell bessemer boole brunel cerf codd cort curie darby diesel dijkstra edison eiffel \
    emeagwali faraday floyd gauss godel goldberg hamilton hoare hopper huntsman kilby knuth krupp lamarr \
    lamport liskov lovelace maxwell meitner naur noether perlman ritchie roebling shannon siemens \
    sutherland tesla thompson turing watt wilkes wirth";

/// Checks a name that a client gives; a leading slash is Docker's habit and goes.
pub(crate) fn parse(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && bare.len() >= 2 && bare.len() <= MAX_LENGTH {
        return Ok(bare);
    }
    Err(Error::InvalidArgument(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// A name made of `random`; `attempt` counts the names before it that were taken.
pub(crate) fn generate(random: u64, attempt: u32) -> String {
    let name = format!("{}_{}", pick(ADJECTIVES, random), pick(SURNAMES, random >> 32));
    match attempt {
        0..=2 => name,
        _ => format!("{name}{}", random >> 44),
    }
}

fn pick(words: &'static str, random: u64) -> &'static str {
    let words: Vec<&str> = words.split_whitespace().collect();
    let index = random % words.len() as u64;
    words[usize::try_from(index).expect("an index of a short list")]
}

#[cfg(test)]
mod tests {
    use super::{generate, parse};

    #[test]
    fn names_follow_docker_s_rule() {
        for (name, expected) in
            [("web", Some("web")), ("/web", Some("web")), ("a1_.-", Some("a1_.-")), ("0a", Some("0a"))]
        {
            assert_eq!(parse(name).ok(), expected, "{name}");
        }
        for name in ["", "/", "a", "_a", "-a", ".a", "a b", "a/b", "//a", "ä1", &"x".repeat(256)] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn made_up_names_are_valid_and_change_with_the_random_number() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..1000_u64 {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for attempt in [0, 3] {
                let name = generate(random, attempt);
                assert_eq!(parse(&name).ok(), Some(name.as_str()));
                seen.insert(name);
            }
        }
        assert!(seen.len() > 1000, "{}", seen.len());
    }
}
