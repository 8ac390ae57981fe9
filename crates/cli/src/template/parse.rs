//! Templates as trees. What can be wrong without data is found here, in Go's words.

use std::collections::BTreeMap;
use std::fmt;

use super::lex::{self, Kind, Token};
use super::value::Value;
use super::{TemplateError, constant, functions, print};

/// A parsed template with everything that it defines.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) source: String,
    pub(super) root: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `{{if pipe}}body{{else}}otherwise{{end}}`, and the same with other words.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) at: usize,
    pub(super) variables: Vec<String>,
    pub(super) is_assignment: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) at: usize,
    /// What is called, and its arguments; never empty.
    pub(super) words: Vec<Word>,
}

#[derive(Debug)]
pub(super) struct Word {
    pub(super) at: usize,
    pub(super) kind: WordKind,
}

#[derive(Debug)]
pub(super) enum WordKind {
    Dot,
    Nil,
    /// A constant, as it was typed.
    Constant(Value, String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(&'static functions::Function),
    Pipe(Pipe),
    /// The fields of something else: `(index .A 0).B`.
    Chain(Box<Word>, Vec<String>),
}

/// How a list of nodes ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Template,
    End,
    Else,
}

/// How deep actions may be within each other: a template is text that somebody typed.
const MAX_DEPTH: usize = 200;

/// Reads a template.
pub(super) fn parse(source: &str) -> Result<Tree, TemplateError> {
    let tokens = lex::tokens(source)?;
    let mut parser = Parser {
        source,
        tokens,
        next: 0,
        variables: vec!["$".into()],
        defined: BTreeMap::new(),
        loops: 0,
        depth: 0,
    };
    let (root, ending) = parser.nodes(true)?;
    match ending {
        Ending::Template => Ok(Tree { source: source.to_owned(), root, defined: parser.defined }),
        Ending::End => parser.fail("unexpected {{end}}"),
        Ending::Else => parser.fail("unexpected {{else}}"),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    defined: BTreeMap<String, Vec<Node>>,
    loops: usize,
    depth: usize,
}

type Parsed<T> = Result<T, TemplateError>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) -> &Token {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
        self.peek()
    }

    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        let before = self.next.saturating_sub(1).min(self.tokens.len() - 1);
        Err(TemplateError::parsing(self.source, self.tokens[before].at, message.into()))
    }

    fn unexpected<T>(&mut self, token: &Token, context: &str) -> Parsed<T> {
        self.fail(match token.kind {
            Kind::End => "unexpected EOF".to_owned(),
            Kind::Keyword => format!("unexpected <{}> in {context}", token.text),
            _ if token.text.chars().count() > 10 => {
                let start: String = token.text.chars().take(10).collect();
                format!("unexpected {}... in {context}", print::quote(&start))
            }
            _ => format!("unexpected {} in {context}", print::quote(&token.text)),
        })
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        self.skip_space();
        let token = self.take();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    /// Nodes up to `{{end}}`, `{{else}}` or the end of everything.
    fn nodes(&mut self, is_top: bool) -> Parsed<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.kind {
                Kind::End if is_top => return Ok((nodes, Ending::Template)),
                Kind::End => return self.unexpected(&token, "list"),
                Kind::Text => nodes.push(Node::Text(token.text)),
                _ => {}
            }
            if token.kind != Kind::Left {
                continue;
            }
            let word = self.skip_space().clone();
            if word.kind != Kind::Keyword {
                nodes.push(Node::Action(self.pipe("command", Kind::Right)?));
                continue;
            }
            self.take();
            match word.text.as_str() {
                "end" => {
                    self.expect(Kind::Right, "end")?;
                    return Ok((nodes, Ending::End));
                }
                // What follows `else` is read by the branch that it belongs to.
                "else" => return Ok((nodes, Ending::Else)),
                "define" if is_top => self.define()?,
                "define" => return self.unexpected(&word, "list"),
                other => nodes.push(self.keyword(other, word.at)?),
            }
        }
    }

    fn keyword(&mut self, word: &str, at: usize) -> Parsed<Node> {
        match word {
            "if" => self.branch("if").map(Node::If),
            "with" => self.branch("with").map(Node::With),
            "range" => self.branch("range").map(Node::Range),
            "template" => {
                let name = self.name("template clause")?;
                let name_at = self.tokens[self.next - 1].at;
                let pipe = match self.skip_space().kind {
                    Kind::Right => {
                        self.take();
                        None
                    }
                    _ => Some(self.pipe("template clause", Kind::Right)?),
                };
                Ok(Node::Template { at: name_at, name, pipe })
            }
            "block" => {
                let name = self.name("block clause")?;
                let pipe = self.pipe("block clause", Kind::Right)?;
                self.body(name.clone())?;
                Ok(Node::Template { at, name, pipe: Some(pipe) })
            }
            _ => {
                self.expect(Kind::Right, word)?;
                if self.loops == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
        }
    }

    fn name(&mut self, context: &str) -> Parsed<String> {
        self.skip_space();
        let token = self.take();
        let name = match token.kind {
            Kind::Quoted => constant::quoted(&token.text),
            Kind::Raw => Some(token.text.trim_matches('`').to_owned()),
            _ => return self.unexpected(&token, context),
        };
        name.map_or_else(|| self.fail("invalid syntax"), Ok)
    }

    fn define(&mut self) -> Parsed<()> {
        let name = self.name("define clause")?;
        self.expect(Kind::Right, "define clause")?;
        self.body(name)
    }

    /// The body of a `define` or `block`, which sees no variables from outside.
    fn body(&mut self, name: String) -> Parsed<()> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, ending) = self.deeper(|parser| parser.nodes(false))?;
        if ending == Ending::Else {
            return self.fail(format!("unexpected {{{{else}}}} in {}", "define clause"));
        }
        (self.variables, self.loops) = (variables, loops);
        self.defined.insert(name, nodes);
        Ok(())
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail("the template is nested too deep");
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn branch(&mut self, context: &'static str) -> Parsed<Branch> {
        self.deeper(|parser| {
            let mark = parser.variables.len();
            let pipe = parser.pipe(context, Kind::Right)?;
            let is_loop = usize::from(context == "range");
            parser.loops += is_loop;
            let (body, ending) = parser.nodes(false)?;
            parser.loops -= is_loop;
            let otherwise = if ending == Ending::Else { parser.otherwise(context)? } else { Vec::new() };
            parser.variables.truncate(mark);
            Ok(Branch { pipe, body, otherwise })
        })
    }

    /// What follows `{{else`: `}}`, or another `if` or `with` that shares our `end`.
    fn otherwise(&mut self, context: &'static str) -> Parsed<Vec<Node>> {
        let next = self.skip_space().clone();
        if next.kind == Kind::Keyword && next.text == context && context != "range" {
            self.take();
            let branch = self.branch(context)?;
            return Ok(vec![if context == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        self.expect(Kind::Right, "else")?;
        match self.nodes(false)? {
            (nodes, Ending::End) => Ok(nodes),
            _ => self.fail("expected end; found {{else}}"),
        }
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.deeper(|parser| {
            let at = parser.skip_space().at;
            let (variables, is_assignment) = parser.variables(context)?;
            let mut commands = Vec::new();
            loop {
                let token = parser.skip_space().clone();
                if token.kind == end {
                    parser.take();
                    break;
                }
                let begins_command = matches!(
                    token.kind,
                    Kind::Bool | Kind::Character | Kind::Dot | Kind::Field | Kind::Identifier | Kind::Number
                ) || matches!(
                    token.kind,
                    Kind::Nil | Kind::Quoted | Kind::Raw | Kind::Variable | Kind::Open
                );
                if !begins_command {
                    parser.take();
                    return parser.unexpected(&token, context);
                }
                commands.push(parser.command()?);
            }
            if commands.is_empty() {
                return parser.fail(format!("missing value for {context}"));
            }
            let is_constant = |command: &Command| {
                matches!(command.words[0].kind, WordKind::Dot | WordKind::Nil | WordKind::Constant(..))
            };
            if let Some(stage) = commands.iter().skip(1).position(is_constant) {
                return parser.fail(format!("non executable command in pipeline stage {}", stage + 2));
            }
            Ok(Pipe { at, variables, is_assignment, commands })
        })
    }

    /// `$x :=`, `$x =`, and `$key, $value :=` of a range.
    fn variables(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let mut names = Vec::new();
        loop {
            let start = self.next;
            if self.skip_space().kind != Kind::Variable {
                return Ok((names, false));
            }
            let variable = self.take();
            let next = self.skip_space().clone();
            match next.kind {
                Kind::Declare | Kind::Assign => {
                    self.take();
                    self.variables.push(variable.text.clone());
                    names.push(variable.text);
                    return Ok((names, next.kind == Kind::Assign));
                }
                Kind::Comma if context == "range" && names.is_empty() => {
                    self.take();
                    self.variables.push(variable.text.clone());
                    names.push(variable.text);
                    if self.skip_space().kind != Kind::Variable {
                        return self.fail("range can only initialize variables");
                    }
                }
                Kind::Comma => return self.fail(format!("too many declarations in {context}")),
                _ => {
                    self.next = start;
                    return Ok((names, false));
                }
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let at = self.skip_space().at;
        let mut words = Vec::new();
        loop {
            self.skip_space();
            words.extend(self.word()?);
            let token = self.peek().clone();
            match token.kind {
                Kind::Space => {}
                Kind::Right | Kind::Close => break,
                Kind::Pipe => {
                    self.take();
                    if matches!(self.skip_space().kind, Kind::Right | Kind::Close) {
                        return self.fail("missing value for command");
                    }
                    break;
                }
                _ => {
                    self.take();
                    return self.unexpected(&token, "operand");
                }
            }
        }
        if words.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { at, words })
    }

    /// One operand with the fields that follow it.
    fn word(&mut self) -> Parsed<Option<Word>> {
        let Some(word) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(word));
        }
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.take().text[1..].to_owned());
        }
        let kind = match word.kind {
            WordKind::Field(mut own) => {
                own.append(&mut fields);
                WordKind::Field(own)
            }
            WordKind::Variable(name, mut own) => {
                own.append(&mut fields);
                WordKind::Variable(name, own)
            }
            WordKind::Dot | WordKind::Nil | WordKind::Constant(..) => {
                return self.fail(format!("unexpected . after term {}", print::quote(&word.to_string())));
            }
            _ => WordKind::Chain(Box::new(word), fields),
        };
        Ok(Some(Word { at, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Word>> {
        let token = self.peek().clone();
        let text = token.text.clone();
        let constant =
            |value: Option<Value>| value.map(|value| WordKind::Constant(value, token.text.clone()));
        let kind = match token.kind {
            Kind::Identifier => match functions::find(&text) {
                Some(function) => Some(WordKind::Function(function)),
                None => {
                    self.take();
                    return self.fail(format!("function {} not defined", print::quote(&text)));
                }
            },
            Kind::Dot => Some(WordKind::Dot),
            Kind::Nil => Some(WordKind::Nil),
            Kind::Variable => {
                if !self.variables.contains(&text) {
                    self.take();
                    return self.fail(format!("undefined variable {}", print::quote(&text)));
                }
                Some(WordKind::Variable(text, Vec::new()))
            }
            Kind::Field => Some(WordKind::Field(vec![text[1..].to_owned()])),
            Kind::Bool => constant(Some(Value::Bool(text == "true"))),
            Kind::Number => constant(constant::number(&text)),
            Kind::Character => constant(constant::character(&text)),
            Kind::Quoted => constant(constant::quoted(&text).map(Value::text)),
            Kind::Raw => constant(Some(Value::text(text[1..text.len() - 1].to_owned()))),
            Kind::Open => {
                self.take();
                let pipe = self.pipe("parenthesized pipeline", Kind::Close)?;
                return Ok(Some(Word { at: token.at, kind: WordKind::Pipe(pipe) }));
            }
            _ => return Ok(None),
        };
        self.take();
        match kind {
            Some(kind) => Ok(Some(Word { at: token.at, kind })),
            None => self.fail("invalid syntax"),
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.is_assignment { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        let commands: Vec<String> = self.commands.iter().map(ToString::to_string).collect();
        f.write_str(&commands.join(" | "))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words.iter().map(|word| match &word.kind {
            WordKind::Pipe(pipe) => format!("({pipe})"),
            _ => word.to_string(),
        });
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            WordKind::Dot => f.write_str("."),
            WordKind::Nil => f.write_str("nil"),
            WordKind::Constant(_, text) => f.write_str(text),
            WordKind::Field(fields) => write!(f, ".{}", fields.join(".")),
            WordKind::Variable(name, fields) => {
                f.write_str(name)?;
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
            WordKind::Function(function) => f.write_str(function.name),
            WordKind::Pipe(pipe) => pipe.fmt(f),
            WordKind::Chain(word, fields) => {
                match &word.kind {
                    WordKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => word.fmt(f)?,
                }
                fields.iter().try_for_each(|field| write!(f, ".{field}"))
            }
        }
    }
}
