//! Templates as tokens, as Go's `text/template/parse` splits them.

use super::TemplateError;

/// A piece of a template, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Bytes from the start of the template.
    pub(super) at: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Outside of actions.
    Text,
    /// `{{` and `}}`.
    Left,
    Right,
    Space,
    /// `(`, `)`, `|`, `,`, `:=`, `=`.
    Open,
    Close,
    Pipe,
    Comma,
    Declare,
    Assign,
    /// `.name`, `.`, `$name`, a function, a word of the language.
    Field,
    Dot,
    Variable,
    Identifier,
    Keyword,
    Bool,
    Nil,
    Character,
    Number,
    Quoted,
    Raw,
    /// Any other character.
    Other,
    End,
}

const KEYWORDS: [&str; 10] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// All tokens of a template; the last one is its end.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    while lexer.text()? {
        lexer.action()?;
    }
    lexer.push(Kind::End, source.len(), source.len());
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        self.tokens.push(Token { kind, text: self.source[start..end].to_owned(), at: start });
        self.at = end;
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::parsing(self.source, at, message.into()))
    }

    /// Text up to the next action, and past comments; whether there is an action.
    fn text(&mut self) -> Result<bool, TemplateError> {
        let start = self.at;
        let Some(found) = self.rest().find("{{") else {
            let end = self.source.len();
            if start < end {
                self.push(Kind::Text, start, end);
            }
            return Ok(false);
        };
        let open = start + found;
        let inside = open + 2;
        let trims = has_left_trim(&self.source[inside..]);
        let end =
            if trims { start + self.source[start..open].trim_end_matches(is_space).len() } else { open };
        if start < end {
            self.push(Kind::Text, start, end);
        }
        self.at = inside + if trims { 2 } else { 0 };
        if self.rest().starts_with("/*") {
            self.comment()?;
            return self.text();
        }
        self.tokens.push(Token { kind: Kind::Left, text: "{{".into(), at: open });
        Ok(true)
    }

    fn comment(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let Some(length) = self.rest().find("*/") else {
            return self.fail(start, "unclosed comment");
        };
        self.at = start + length + 2;
        match self.close() {
            true => Ok(()),
            false => self.fail(start, "comment ends before closing delimiter"),
        }
    }

    /// Goes past `}}` or ` -}}` and what that trims.
    fn close(&mut self) -> bool {
        if has_right_trim(self.rest()) {
            self.at += 4;
            let trimmed = self.rest().trim_start_matches(is_space).len();
            self.at = self.source.len() - trimmed;
            return true;
        }
        let closes = self.rest().starts_with("}}");
        if closes {
            self.at += 2;
        }
        closes
    }

    /// What is between `{{` and `}}`.
    fn action(&mut self) -> Result<(), TemplateError> {
        let mut depth = 0_usize;
        loop {
            let start = self.at;
            if has_right_trim(self.rest()) || self.rest().starts_with("}}") {
                if depth > 0 {
                    return self.fail(start, "unclosed left paren");
                }
                self.tokens.push(Token { kind: Kind::Right, text: "}}".into(), at: start });
                self.close();
                return Ok(());
            }
            let Some(c) = self.rest().chars().next() else {
                return self.fail(start, "unclosed action");
            };
            match c {
                '(' => depth += 1,
                ')' => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return self.fail(start, "unexpected right paren"),
                },
                _ => {}
            }
            self.token(c)?;
        }
    }

    /// One token that begins with `c`.
    fn token(&mut self, c: char) -> Result<(), TemplateError> {
        let start = self.at;
        let next = self.rest()[c.len_utf8()..].chars().next();
        match c {
            _ if is_space(c) => {
                let space = self.rest().find(|c| !is_space(c)).unwrap_or(self.rest().len());
                // The last space belongs to the marker that trims; a space alone before it was seen already.
                let marker = usize::from(self.rest()[space..].starts_with("-}}"));
                self.push(Kind::Space, start, start + space - marker);
            }
            '(' => self.push(Kind::Open, start, start + 1),
            ')' => self.push(Kind::Close, start, start + 1),
            '|' => self.push(Kind::Pipe, start, start + 1),
            ',' => self.push(Kind::Comma, start, start + 1),
            '=' => self.push(Kind::Assign, start, start + 1),
            ':' if next == Some('=') => self.push(Kind::Declare, start, start + 2),
            ':' => return self.fail(start, "expected :="),
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Character, "unterminated character constant")?,
            '`' => match self.rest()[1..].find('`') {
                Some(length) => self.push(Kind::Raw, start, start + length + 2),
                None => return self.fail(start, "unterminated raw quoted string"),
            },
            '.' if next.is_some_and(|c| c.is_ascii_digit()) => self.number()?,
            '.' => self.named(Kind::Field, Kind::Dot)?,
            '$' => self.named(Kind::Variable, Kind::Variable)?,
            '+' | '-' => self.number()?,
            _ if c.is_ascii_digit() => self.number()?,
            _ if is_word(c) => self.word()?,
            '!'..='~' => self.push(Kind::Other, start, start + 1),
            _ => {
                let message = format!("unrecognized character in action: U+{:04X} '{c}'", u32::from(c));
                return self.fail(start, message);
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), TemplateError> {
        let start = self.at;
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    self.push(kind, start, start + offset + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.fail(start, unterminated)
    }

    /// `.name` or `$name`, or the sign alone.
    fn named(&mut self, kind: Kind, alone: Kind) -> Result<(), TemplateError> {
        let start = self.at;
        let length = self.rest()[1..].find(|c| !is_word(c)).unwrap_or(self.rest().len() - 1);
        self.ends_word(start + 1 + length)?;
        self.push(if length == 0 { alone } else { kind }, start, start + 1 + length);
        Ok(())
    }

    fn word(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let length = self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        self.ends_word(start + length)?;
        let kind = match &self.source[start..start + length] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.push(kind, start, start + length);
        Ok(())
    }

    /// What may follow a word.
    fn ends_word(&self, end: usize) -> Result<(), TemplateError> {
        let rest = &self.source[end..];
        match rest.chars().next() {
            None => Ok(()),
            Some(c) if is_space(c) || ".,|:()=".contains(c) || rest.starts_with("}}") => Ok(()),
            Some(c) => self.fail(end, format!("bad character U+{:04X} '{c}'", u32::from(c))),
        }
    }

    fn number(&mut self) -> Result<(), TemplateError> {
        let start = self.at;
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let mut end = start + 1;
        let mut before = ' ';
        for c in self.source[end..].chars() {
            let is_exponent_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E' | 'p' | 'P');
            if !is_part(c) && !is_exponent_sign {
                break;
            }
            before = c;
            end += 1;
        }
        match super::constant::number(&self.source[start..end]) {
            Some(_) => self.push(Kind::Number, start, end),
            None => return self.fail(start, format!("bad number syntax: {:?}", &self.source[start..end])),
        }
        Ok(())
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn has_left_trim(inside: &str) -> bool {
    inside.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn has_right_trim(rest: &str) -> bool {
    rest.starts_with(is_space) && rest[1..].starts_with("-}}")
}
