//! The words of a filter, and its quotes.
//!
//! What a run of characters is depends on what was before: after an operator it is a value, which ends at a blank or a
//! comma; elsewhere a name. Blanks before a word are skipped, those after it are left.

use super::{Error, Result};

/// A word. Quoted text is with its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    End,
    Field(&'a str),
    Quoted(&'a str),
    Value(&'a str),
    Separator,
    Operator(&'a str),
    /// A character that begins no word.
    Other,
}

/// Words, one by one.
pub(super) struct Tokens<'a> {
    input: &'a str,
    at: usize,
    is_value_next: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(input: &'a str) -> Tokens<'a> {
        Tokens { input, at: 0, is_value_next: false }
    }

    /// Where the next character is, in bytes.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next character, blank or not; `None` at the end. Two are never allowed: null, and the replacement
    /// character, for which containerd takes every text that is no UTF-8.
    pub(super) fn peek(&self) -> Result<Option<char>, &'static str> {
        match self.input[self.at..].chars().next() {
            Some('\0') => Err("unexpected null"),
            Some(char::REPLACEMENT_CHARACTER) => Err("rune error"),
            other => Ok(other),
        }
    }

    /// The next word and where it begins.
    pub(super) fn token(&mut self) -> Result<(usize, Token<'a>)> {
        self.skip(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.peek().map_err(|problem| self.error(start, problem))? else {
            return Ok((start, Token::End));
        };
        self.at += first.len_utf8();
        let token = match first {
            '"' | '/' | '|' => {
                self.skip_quoted(first).map_err(|problem| self.error(start, problem))?;
                Token::Quoted(&self.input[start..self.at])
            }
            ',' | '.' => {
                self.is_value_next = false;
                Token::Separator
            }
            '=' | '!' | '~' => {
                self.skip(|c| matches!(c, '=' | '!' | '~'));
                self.is_value_next = true;
                Token::Operator(&self.input[start..self.at])
            }
            _ if self.is_value_next => {
                self.skip(|c| c != ',' && !c.is_whitespace() && !c.is_control());
                self.is_value_next = false;
                Token::Value(&self.input[start..self.at])
            }
            _ if is_of_name(first) => {
                self.skip(is_of_name);
                Token::Field(&self.input[start..self.at])
            }
            _ => Token::Other,
        };
        Ok((start, token))
    }

    /// The error of this input, at a byte of it.
    pub(super) fn error(&self, at: usize, problem: impl Into<String>) -> Error {
        Error::Syntax { input: self.input.to_owned(), at, problem: problem.into() }
    }

    fn skip(&mut self, fits: impl Fn(char) -> bool) {
        while let Ok(Some(c)) = self.peek()
            && fits(c)
        {
            self.at += c.len_utf8();
        }
    }

    /// Goes on behind the closing quote. Of several problems the first is told, but only at the end of the quote.
    fn skip_quoted(&mut self, quote: char) -> Result<(), &'static str> {
        let mut first = None;
        loop {
            let c = match self.peek() {
                Ok(Some(c)) if c != '\n' => c,
                Ok(_) => return Err(first.unwrap_or("quoted literal not terminated")),
                Err(problem) => return Err(first.unwrap_or(problem)),
            };
            self.at += c.len_utf8();
            if c == quote {
                return first.map_or(Ok(()), Err);
            }
            if c == '\\'
                && let Err(problem) = self.skip_escape(quote)
            {
                first.get_or_insert(problem);
            }
        }
    }

    /// Goes on behind an escape, or stops at the character that makes it none.
    fn skip_escape(&mut self, quote: char) -> Result<(), &'static str> {
        let c = self.peek()?.unwrap_or_default();
        let (base, digits) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => (0, 0),
            _ if c == quote => (0, 0),
            '0'..='7' => (8, 2),
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            _ => return Err("illegal escape sequence"),
        };
        self.at += c.len_utf8();
        for _ in 0..digits {
            if !self.peek()?.is_some_and(|digit| digit.is_digit(base)) {
                return Err("illegal numeric escape sequence");
            }
            self.at += 1;
        }
        Ok(())
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// What a quoted word stands for; `None` for a number that is no byte or no character. `\x` and octal numbers are
/// bytes, `\u` and `\U` characters.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.get(1..text.len().checked_sub(1)?)?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let kind = escape.chars().next()?;
        let (base, length) = match kind {
            '0'..='7' => (8, 3),
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            _ => (0, 0),
        };
        if base == 0 {
            bytes.push(simple(kind)?);
            rest = &escape[1..];
            continue;
        }
        let start = usize::from(base == 16);
        let number = u32::from_str_radix(escape.get(start..start + length)?, base).ok()?;
        rest = &escape[start + length..];
        match kind {
            'u' | 'U' => {
                // Half a surrogate pair is a number of a character, yet no character.
                let c = if number > u32::from(char::MAX) { return None } else { char::from_u32(number) };
                bytes.extend(c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string().as_bytes());
            }
            _ => bytes.push(u8::try_from(number).ok()?),
        }
    }
    bytes.extend(rest.as_bytes());
    Some(bytes)
}

/// The byte behind an escape of one character: a quote stands for itself.
fn simple(kind: char) -> Option<u8> {
    match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        _ => u8::try_from(kind).ok(),
    }
}

/// The quoted word that stands for these bytes.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}
