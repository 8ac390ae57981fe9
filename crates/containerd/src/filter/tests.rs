//! What containerd 2.1.9 answered, and what must hold for any text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Adaptor, Error, Filter, LENGTH_MAX, PATTERNS_MAX, entry};

struct Lease {
    id: &'static str,
    labels: BTreeMap<String, String>,
}

impl Lease {
    fn new(id: &'static str, labels: &[(&str, &str)]) -> Lease {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Lease { id, labels: labels.iter().map(owned).collect() }
    }
}

impl Adaptor for Lease {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        match path.split_first()? {
            (first, []) if first == "id" => Some(self.id.into()),
            (first, rest) if first == "labels" => entry(rest, |key| self.labels.get(key)).map(Into::into),
            _ => None,
        }
    }
}

/// `ctr images list FILTER`, without ctr's and the code's words.
const REFUSED: &[(&str, &str)] = &[
    ("bad filter", r#"filters: parse error: [bad  >|f|< ilter]: expected an operator ("=="|"!="|"~=")"#),
    ("name==", "filters: parse error: [name==]: expected value or quoted"),
    ("name=", r#"filters: parse error: [name >|=|< ]: unsupported operator "=""#),
    ("name=foo", r#"filters: parse error: [name >|=|< foo]: unsupported operator "=""#),
    ("name===foo", r#"filters: parse error: [name >|=|< ==foo]: unsupported operator "===""#),
    ("name>foo", r#"filters: parse error: [name >|>|< foo]: expected an operator ("=="|"!="|"~=")"#),
    ("==foo", "filters: parse error: [ >|=|< =foo]: expected field or quoted"),
    (",", "filters: parse error: [ >|,|< ]: expected field or quoted"),
    ("name,,x", "filters: parse error: [name, >|,|< x]: expected field or quoted"),
    ("name==foo,", "filters: parse error: [name==foo,]: expected field or quoted"),
    ("name==foo bar", "filters: parse error: [name==foo >| |< bar]: unexpected input:  "),
    (r#"name=="foo"#, r#"filters: parse error: [name== >|"|< foo]: quoted literal not terminated"#),
    (r#"name=="fo\qo""#, r#"filters: parse error: [name== >|"|< fo\qo"]: illegal escape sequence"#),
    (r#"name=="fo\xzz""#, r#"filters: parse error: [name== >|"|< fo\xzz"]: illegal numeric escape sequence"#),
    ("name~=/a/b/", "filters: parse error: [name~=/a/ >|b|< /]: unexpected input: b"),
    ("name==/foo/", "filters: parse error: [name== >|/|< foo/]: invalid quote encountered"),
    ("name==|foo|", "filters: parse error: [name== >|||< foo|]: invalid quote encountered"),
    ("name~=|foo", "filters: parse error: [name~= >|||< foo]: quoted literal not terminated"),
    ("labels./a/", "filters: parse error: [labels. >|/|< a/]: invalid quote encountered"),
    ("labels.|a|==x", "filters: parse error: [labels. >|||< a|==x]: invalid quote encountered"),
    ("labels.", "filters: parse error: [labels.]: expected field or quoted"),
    (".labels", "filters: parse error: [ >|.|< labels]: expected field or quoted"),
    ("la bels", r#"filters: parse error: [la  >|b|< els]: expected an operator ("=="|"!="|"~=")"#),
    (" name == foo , labels.x", "filters: parse error: [ name == foo >| |< , labels.x]: unexpected input:  "),
    (
        "labels.containerd.io/x==y",
        "filters: parse error: [labels.containerd.io >|/|< x==y]: quoted literal not terminated",
    ),
    ("name!foo", r#"filters: parse error: [name >|!|< foo]: unsupported operator "!""#),
    ("name~foo", r#"filters: parse error: [name >|~|< foo]: unsupported operator "~""#),
    ("né==x", r#"filters: parse error: [n >|�|< �==x]: expected an operator ("=="|"!="|"~=")"#),
    (
        r#"name=="\400""#,
        r#"filters: parse error: [name== >|"|< \400"]: unquoting failed: quote syntax error"#,
    ),
    (r#"name~=/a\|b/"#, r#"filters: parse error: [name~= >|/|< a\|b/]: illegal escape sequence"#),
    (r#"name~=/a\d/"#, r#"filters: parse error: [name~= >|/|< a\d/]: illegal escape sequence"#),
    ("*", "filters: parse error: [ >|*|< ]: expected field or quoted"),
    ("name~=", "filters: parse error: [name~=]: expected value or quoted"),
    (r#"name=="a"x"#, r#"filters: parse error: [name=="a" >|x|< ]: unexpected input: x"#),
    ("name==/a", "filters: parse error: [name== >|/|< a]: quoted literal not terminated"),
    ("name!=|x|", "filters: parse error: [name!= >|||< x|]: invalid quote encountered"),
    ("(a)", "filters: parse error: [ >|(|< a)]: expected field or quoted"),
    ("name.=x", "filters: parse error: [name. >|=|< x]: expected field or quoted"),
    ("name==.x", "filters: parse error: [name== >|.|< x]: expected value or quoted"),
    ("name==,x", "filters: parse error: [name== >|,|< x]: expected value or quoted"),
];

const ACCEPTED: &[&str] = &[
    "name==foo.bar",
    r#"name~=/foo/,labels."a.b"==x"#,
    r#"labels."a.b""#,
    "name== foo",
    "name=='foo'",
    "labels.a.b==c",
    "name==é",
    r#"name==("x")"#,
    r#"name==a"b"#,
    "name~=[",
    "name~=a(",
    "1a==b",
    "_==1",
    r#"name=="\u00e9\101""#,
    r#"name=="a/b|c""#,
    r#"name~=/a\/b/"#,
    r#"name~=|a\|b|"#,
    "name",
    "name,labels",
    "name==*",
    "name==a,b,c==d",
    "name==a==b",
    "name != a",
    r#""name"==x"#,
    r#""na\"me"==x"#,
    r#"labels."\x41""#,
    "name==\tx",
    "name==a!b",
    "name==a=b",
];

/// `ctr leases list FILTER` where there is one lease, `one`, with labels `a.b=c` and `x/y=z|w`.
const ANSWERS: &[(&str, bool)] = &[
    ("id==one", true),
    ("id!=one", false),
    ("id!=two", true),
    ("id~=n", true),
    ("id~=^n", false),
    ("id~=^on.$", true),
    ("nofield", false),
    ("nofield!=x", true),
    (r#"nofield!="""#, false),
    (r#"nofield=="""#, false),
    ("nofield~=^$", true),
    ("labels", false),
    ("labels.a", false),
    ("labels.a.b", true),
    (r#"labels."a.b""#, true),
    (r#"labels.a."b"==c"#, true),
    (r#""labels"."a.b"==c"#, true),
    (r#"labels.none=="""#, false),
    (r#"labels.none!="""#, false),
    ("labels.none!=x", true),
    (r#"labels."x/y"==z|w"#, true),
    (r#"labels."x/y"=="z|w""#, true),
    (r#"labels."x/y"~=|\||"#, true),
    (r#"labels."x/y"~=/z./"#, true),
    ("id~=[", false),
    ("id~=(?i)ONE", true),
    ("id~=[[:alpha:]]+", true),
    (r#"id~=o\x6ee"#, true),
    (r#"id~=\bone\b"#, true),
    (r#"id~="o\\w+e""#, true),
    ("id==one,labels.a.b==d", false),
    (r#"id=="\x6fne""#, true),
    (r#"id=="\157ne""#, true),
    (r#"id=="\u006fne""#, true),
    ("id==o.e", false),
    ("id~=(?P<n>o)ne", true),
    (r#"id~=\z"#, true),
    (r#"id~=[^\n]"#, true),
    ("id~=x|o", true),
    ("id~=one$", true),
    ("id~={", false),
];

fn parse(text: &str) -> Result<Filter, Error> {
    Filter::parse(&[text])
}

#[test]
fn what_containerd_refuses_is_refused_with_its_words() {
    for (text, answer) in REFUSED {
        assert_eq!(parse(text).map(|_| ()).unwrap_err().to_string(), *answer);
    }
    for text in ACCEPTED {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn a_filter_is_about_the_objects_that_containerd_says() {
    let lease = Lease::new("one", &[("a.b", "c"), ("x/y", "z|w")]);
    for (text, answer) in ANSWERS {
        assert_eq!(parse(text).unwrap().matches(&lease), *answer, "{text}");
    }
}

#[test]
fn of_several_filters_one_suffices_and_none_is_about_everything() {
    let lease = Lease::new("one", &[]);
    let matches = |filters: &[&str]| Filter::parse(filters).unwrap().matches(&lease);
    assert!(matches(&[]));
    assert!(matches(&[""]));
    assert!(matches(&["id==two", ""]));
    assert!(matches(&["id==two", "id==one"]));
    assert!(!matches(&["id==two", "id==three"]));
}

#[test]
fn half_a_character_is_shown_as_containerd_shows_it_and_null_is_refused() {
    let words = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(
        words("n\u{e9}==x"),
        "filters: parse error: [n >|\u{fffd}|< \u{fffd}==x]: expected an operator (\"==\"|\"!=\"|\"~=\")"
    );
    assert_eq!(words("n\0"), "filters: parse error: [n >|\0|< ]: unexpected null");
    assert_eq!(words("n==a\0"), "filters: parse error: [n==a >|\0|< ]: unexpected input: \u{fffd}");
    assert_eq!(words("n==\"\\q\0"), "filters: parse error: [n== >|\"|< \\q\0]: illegal escape sequence");
}

#[test]
fn a_request_is_bounded() {
    let long = "a".repeat(LENGTH_MAX / 2 + 1);
    assert!(Filter::parse(&[&long]).is_ok());
    assert_eq!(Filter::parse(&[&long, &long]).unwrap_err(), Error::TooLong { length: LENGTH_MAX + 2 });
    let patterns = vec!["a~=b"; PATTERNS_MAX];
    assert!(Filter::parse(&patterns).is_ok());
    assert_eq!(Filter::parse(&[patterns, vec!["a~=b"]].concat()).unwrap_err(), Error::TooManyPatterns);
    // A pattern that would fill memory is none: it matches nothing.
    let lease = Lease::new("aaaa", &[]);
    assert!(!parse("id~=((a{1000}){1000})*").unwrap().matches(&lease));
}

/// What filters are made of, mostly.
fn word() -> impl Strategy<Value = String> {
    let known =
        ["a", "==", "~=", "!=", ".", ",", " ", "\"", "\"\\\\\"", "\"\\\"\"", "/\\//", "|", "\\x4", "\\101"];
    prop_oneof![6 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"]
}

proptest! {
    #[test]
    fn any_text_is_refused_or_survives_being_written(words in prop::collection::vec(word(), 0..12)) {
        let text = words.concat();
        if let Ok(filter) = parse(&text) {
            let written = filter.to_string();
            prop_assert_eq!(parse(&written).unwrap().to_string(), written);
        }
    }

    #[test]
    fn a_label_is_found_by_its_key_and_value_whatever_they_are(key in ".{1,12}", value in "(.|\n){1,12}") {
        let lease = Lease::new("one", &[(&key, &value)]);
        let (quoted, wanted) = (super::token::quote(key.as_bytes()), super::token::quote(value.as_bytes()));
        let matches = |path: &str, rest: &str| {
            parse(&format!("labels.{path}{rest}")).unwrap().matches(&lease)
        };
        let (is, is_not) = (format!("=={wanted}"), format!("!={wanted}"));
        prop_assert!(matches(&quoted, "") && matches(&quoted, &is) && !matches(&quoted, &is_not));
        let other = super::token::quote(format!("{key}x").as_bytes());
        prop_assert!(!matches(&other, ""));
    }
}
