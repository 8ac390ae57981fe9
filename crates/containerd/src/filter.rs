//! containerd's filters: which objects a list, or which events a subscription, is about.
//!
//! ```text
//! filters  := filter*                                  any of them; none: everything
//! filter   := [selector ("," selector)*]               all of them; empty: everything
//! selector := path [("==" | "!=" | "~=") value]        without an operator: whether there is such a field
//! path     := name ("." name)*
//! name     := "quoted" | [A-Za-z0-9_-]+
//! value    := "quoted" | [^\s,]+                       after "~=" also /quoted/ and |quoted|
//! ```
//!
//! Where blanks are allowed, what a quote may hold and how an error reads is what containerd 2.1.9 answers, found out
//! by asking it. A field that is not there has no value for `==`, and the empty one for `!=` and `~=`. A regular
//! expression that is none matches nothing and is no error. Expressions are those of `regex-lite`: it lacks Unicode's
//! classes (`\pL`) and `\Q…\E`, and knows `(?x)` and repetitions of repetitions (`o*+`), which containerd's are not. A
//! value may hold invisible characters, which containerd takes for its end.

mod token;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use api::code::Code;
use regex_lite::{Regex, RegexBuilder};
use token::{Token, Tokens};

/// All filters of a request together, in bytes: far above what clients send, and little to work through.
const LENGTH_MAX: usize = 1 << 20;
/// Regular expressions in all filters of a request, and the memory of each when compiled, in bytes.
const PATTERNS_MAX: usize = 128;
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// What filters look at.
pub trait Adaptor {
    /// The value of a field, by the names in its path; `None` if there is no such field.
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>>;
}

/// Looks a field of a map up: all names of `path` are one key, whether they were quoted or not.
pub fn entry<T>(path: &[String], lookup: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    lookup(&path.join("."))
}

/// The value of a label, by the path after `labels`.
pub fn label<'a>(path: &[String], labels: &'a BTreeMap<String, String>) -> Option<Cow<'a, str>> {
    entry(path, |key| labels.get(key)).map(|value| Cow::Borrowed(value.as_str()))
}

/// The filters of one request.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Any of these; within one, all selectors.
    alternatives: Vec<Vec<Selector>>,
}

#[derive(Debug, Clone)]
struct Selector {
    path: Vec<String>,
    condition: Condition,
}

/// Values are bytes: a quote may hold what is no UTF-8, and it is unequal to every field.
#[derive(Debug, Clone)]
enum Condition {
    Present,
    Equal(Vec<u8>),
    NotEqual(Vec<u8>),
    /// `None`: the pattern is no regular expression.
    Matches(Vec<u8>, Option<Regex>),
}

/// Why text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is containerd's.
    #[error("filters: parse error: {}: {problem}", place(input, *at))]
    Syntax { input: String, at: usize, problem: String },
    #[error("filters: {length} bytes exceed the bound of {LENGTH_MAX}")]
    TooLong { length: usize },
    #[error("filters: more than {PATTERNS_MAX} regular expressions")]
    TooManyPatterns,
}

impl Error {
    /// What kind of failure it is.
    pub fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Filter {
    /// Parses the filters of a request.
    pub fn parse<S: AsRef<str>>(filters: &[S]) -> Result<Filter> {
        let length = filters.iter().map(|filter| filter.as_ref().len()).sum();
        if length > LENGTH_MAX {
            return Err(Error::TooLong { length });
        }
        let mut patterns = 0;
        let alternatives = filters
            .iter()
            .map(|filter| Parser { tokens: Tokens::new(filter.as_ref()), patterns: &mut patterns }.filter())
            .collect::<Result<_>>()?;
        Ok(Filter { alternatives })
    }

    /// Whether an object is one of those that are asked for.
    pub fn matches(&self, object: &dyn Adaptor) -> bool {
        self.alternatives.is_empty()
            || self.alternatives.iter().any(|all| all.iter().all(|selector| selector.matches(object)))
    }
}

impl Selector {
    fn matches(&self, object: &dyn Adaptor) -> bool {
        let field = object.field(&self.path);
        let value = field.as_deref().unwrap_or_default();
        match &self.condition {
            Condition::Present => field.is_some(),
            Condition::Equal(wanted) => field.is_some() && value.as_bytes() == wanted,
            Condition::NotEqual(unwanted) => value.as_bytes() != unwanted,
            Condition::Matches(_, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        }
    }
}

/// Writes one filter that parses to the same; several are written one per line.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, selectors) in self.alternatives.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "\n" })?;
            for (number, selector) in selectors.iter().enumerate() {
                f.write_str(if number == 0 { "" } else { "," })?;
                selector.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.path.iter().map(|name| token::quote(name.as_bytes())).collect();
        f.write_str(&names.join("."))?;
        match &self.condition {
            Condition::Present => Ok(()),
            Condition::Equal(value) => write!(f, "=={}", token::quote(value)),
            Condition::NotEqual(value) => write!(f, "!={}", token::quote(value)),
            Condition::Matches(pattern, _) => write!(f, "~={}", token::quote(pattern)),
        }
    }
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    /// Of all filters of the request, so far.
    patterns: &'a mut usize,
}

impl Parser<'_> {
    fn filter(mut self) -> Result<Vec<Selector>> {
        let mut selectors = Vec::new();
        if self.tokens.peek() == Ok(None) {
            return Ok(selectors);
        }
        loop {
            selectors.push(self.selector()?);
            match self.tokens.peek() {
                Ok(None) => return Ok(selectors),
                Ok(Some(',')) => self.tokens.token()?,
                other => {
                    let what = other.ok().flatten().unwrap_or(char::REPLACEMENT_CHARACTER);
                    let at = self.tokens.position();
                    return Err(self.tokens.error(at, format!("unexpected input: {what}")));
                }
            };
        }
    }

    fn selector(&mut self) -> Result<Selector> {
        let path = self.path()?;
        if matches!(self.tokens.peek(), Ok(None | Some(','))) {
            return Ok(Selector { path, condition: Condition::Present });
        }
        let condition = match self.tokens.token()? {
            (_, Token::Operator("==")) => Condition::Equal(self.value("\"")?),
            (_, Token::Operator("!=")) => Condition::NotEqual(self.value("\"")?),
            (_, Token::Operator("~=")) => self.pattern()?,
            (at, Token::Operator(other)) => {
                return Err(self.tokens.error(at, format!("unsupported operator {other:?}")));
            }
            (at, _) => return Err(self.tokens.error(at, "expected an operator (\"==\"|\"!=\"|\"~=\")")),
        };
        Ok(Selector { path, condition })
    }

    fn path(&mut self) -> Result<Vec<String>> {
        let mut path = vec![self.name()?];
        while self.tokens.peek() == Ok(Some('.')) {
            self.tokens.token()?;
            path.push(self.name()?);
        }
        Ok(path)
    }

    /// A name that is no UTF-8 is no field's; with its replacement characters it is not, either.
    fn name(&mut self) -> Result<String> {
        match self.tokens.token()? {
            (_, Token::Field(name)) => Ok(name.to_owned()),
            (at, Token::Quoted(text)) => {
                Ok(String::from_utf8_lossy(&self.unquote(at, text, "\"")?).into_owned())
            }
            (at, _) => Err(self.tokens.error(at, "expected field or quoted")),
        }
    }

    fn value(&mut self, quotes: &str) -> Result<Vec<u8>> {
        match self.tokens.token()? {
            (_, Token::Value(value) | Token::Field(value)) => Ok(value.as_bytes().to_vec()),
            (at, Token::Quoted(text)) => self.unquote(at, text, quotes),
            (at, _) => Err(self.tokens.error(at, "expected value or quoted")),
        }
    }

    fn pattern(&mut self) -> Result<Condition> {
        let pattern = self.value("\"/|")?;
        *self.patterns += 1;
        if *self.patterns > PATTERNS_MAX {
            return Err(Error::TooManyPatterns);
        }
        let regex = std::str::from_utf8(&pattern)
            .ok()
            .and_then(|text| RegexBuilder::new(text).size_limit(PATTERN_SIZE_MAX).build().ok());
        Ok(Condition::Matches(pattern, regex))
    }

    fn unquote(&self, at: usize, text: &str, quotes: &str) -> Result<Vec<u8>> {
        if !text.starts_with(|quote| quotes.contains(quote)) {
            return Err(self.tokens.error(at, "invalid quote encountered"));
        }
        token::unquote(text).ok_or_else(|| self.tokens.error(at, "unquoting failed: quote syntax error"))
    }
}

/// The input with the byte at fault marked, as containerd shows it: half a character is a replacement character.
fn place(input: &str, at: usize) -> String {
    let text = |range: &[u8]| String::from_utf8_lossy(range).into_owned();
    match input.as_bytes().split_at_checked(at) {
        Some((before, [fault, after @ ..])) => {
            format!("[{} >|{}|< {}]", text(before), text(&[*fault]), text(after))
        }
        _ => format!("[{input}]"),
    }
}

#[cfg(test)]
mod tests;
