//! Runs a template: what `text/template` does with a tree and a value, and where it complains.

use std::sync::Arc;

use super::functions::{Body, Function};
use super::parse::{Branch, Command, Node, Pipe, Tree, Word, WordKind};
use super::value::{Empty, Kind, Value};
use super::{TemplateError, print};

/// How deep templates may call each other.
const MAX_DEPTH: usize = 200;

/// The longest output of one template: `range` and recursion can ask for any.
const MAX_OUTPUT: usize = 256 * 1024 * 1024;

/// What the functions of Docker do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Values,
    /// In a line of titles they leave their first argument alone.
    Titles,
}

/// The text that a template makes of a value.
pub(super) fn run(tree: &Tree, data: &Value, mode: Mode) -> Result<String, TemplateError> {
    let variables = vec![("$".to_owned(), data.clone())];
    let mut run = Run { tree, mode, variables, out: String::new(), depth: 0 };
    run.nodes(data, &tree.root)?;
    Ok(run.out)
}

/// Whether a list goes on.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    tree: &'a Tree,
    mode: Mode,
    variables: Vec<(String, Value)>,
    out: String,
    depth: usize,
}

type Done<T> = Result<T, TemplateError>;

impl<'a> Run<'a> {
    fn fail<T>(&self, at: usize, context: &dyn ToString, message: impl Into<String>) -> Done<T> {
        Err(TemplateError::running(&self.tree.source, at, &context.to_string(), &message.into()))
    }

    fn nodes(&mut self, dot: &Value, nodes: &'a [Node]) -> Done<Flow> {
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, dot: &Value, node: &'a Node) -> Done<Flow> {
        match node {
            Node::Text(text) => self.out += text,
            Node::Action(pipe) => {
                let value = self.declared(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.print(pipe, &value)?;
                }
            }
            Node::If(branch) => return self.conditional(dot, branch, false),
            Node::With(branch) => return self.conditional(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { at, name, pipe } => self.template(dot, *at, name, pipe.as_ref())?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn print(&mut self, pipe: &Pipe, value: &Value) -> Done<()> {
        match value {
            Value::Empty(Empty::Nothing) => self.out += "<no value>",
            value => self.out += &print::plain(value),
        }
        match self.out.len() > MAX_OUTPUT {
            true => self.fail(pipe.at, pipe, format!("the output is longer than {MAX_OUTPUT} bytes")),
            false => Ok(()),
        }
    }

    fn conditional(&mut self, dot: &Value, branch: &'a Branch, moves_dot: bool) -> Done<Flow> {
        let mark = self.variables.len();
        let value = self.declared(dot, &branch.pipe)?;
        let flow = match value.is_true() {
            true => self.nodes(if moves_dot { &value } else { dot }, &branch.body),
            false => self.nodes(dot, &branch.otherwise),
        };
        self.variables.truncate(mark);
        flow
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Done<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let mut is_empty = true;
        for (key, item) in self.items(&branch.pipe, value)? {
            is_empty = false;
            self.bind(&branch.pipe, key, &item);
            let flow = self.nodes(&item, &branch.body)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        match is_empty {
            true => self.nodes(dot, &branch.otherwise),
            false => Ok(Flow::On),
        }
    }

    /// What a range goes over, with its keys.
    fn items(&self, pipe: &Pipe, value: Value) -> Done<Box<dyn Iterator<Item = (Value, Value)>>> {
        Ok(match value {
            Value::List(items) => Box::new((0..items.len()).map(move |at| (index(at), items[at].clone()))),
            Value::Map(map) if map.kind != Kind::Row => {
                let fields: Vec<_> = map
                    .sorted()
                    .into_iter()
                    .map(|(name, value)| (Value::Text(name.clone()), value.clone()))
                    .collect();
                Box::new(fields.into_iter())
            }
            Value::Int(count) => Box::new((0..count).map(|at| (Value::Int(at), Value::Int(at)))),
            Value::Empty(_) => Box::new(std::iter::empty()),
            other => {
                return self.fail(
                    pipe.at,
                    pipe,
                    format!("range can't iterate over {}", print::plain(&other)),
                );
            }
        })
    }

    /// Sets the variables of a range to one item.
    fn bind(&mut self, pipe: &Pipe, key: Value, item: &Value) {
        let values = match pipe.variables.len() {
            1 => vec![item.clone()],
            _ => vec![key, item.clone()],
        };
        for (name, value) in pipe.variables.iter().zip(values) {
            match pipe.is_assignment {
                true => self.assign(name, value),
                false => self.variables.push((name.clone(), value)),
            }
        }
    }

    fn assign(&mut self, name: &str, value: Value) {
        if let Some((_, old)) = self.variables.iter_mut().rev().find(|(own, _)| own == name) {
            *old = value;
        }
    }

    fn template(&mut self, dot: &Value, at: usize, name: &str, pipe: Option<&'a Pipe>) -> Done<()> {
        let tree = self.tree;
        let context = || match pipe {
            Some(pipe) => format!("{{{{template {} {pipe}}}}}", print::quote(name)),
            None => format!("{{{{template {}}}}}", print::quote(name)),
        };
        let Some(nodes) = tree.defined.get(name) else {
            return self.fail(at, &context(), format!("template {} not defined", print::quote(name)));
        };
        if self.depth == MAX_DEPTH {
            return self.fail(at, &context(), format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let value = pipe.map(|pipe| self.declared(dot, pipe)).transpose()?;
        let value = value.unwrap_or(Value::Empty(Empty::Nothing));
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), value.clone())]);
        self.depth += 1;
        self.nodes(&value, nodes)?;
        self.depth -= 1;
        self.variables = outer;
        Ok(())
    }

    /// The value of a pipeline.
    fn pipe(&mut self, dot: &Value, pipe: &'a Pipe) -> Done<Value> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.expect("a pipeline has a command");
        Ok(value)
    }

    /// The same for what a range does not bind to its items.
    fn declared(&mut self, dot: &Value, pipe: &'a Pipe) -> Done<Value> {
        let value = self.pipe(dot, pipe)?;
        if let Some(name) = pipe.variables.first() {
            match pipe.is_assignment {
                true => self.assign(name, value.clone()),
                false => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Value, command: &'a Command, last: Option<Value>) -> Done<Value> {
        let [first, rest @ ..] = &command.words[..] else { unreachable!("a command has a word") };
        match &first.kind {
            WordKind::Function(function) => return self.call(dot, command, function, last),
            WordKind::Field(_) | WordKind::Chain(..) | WordKind::Variable(..) => {
                return self.fields(dot, first, rest, last);
            }
            _ => {}
        }
        if !rest.is_empty() || last.is_some() {
            return self.fail(first.at, first, format!("can't give argument to non-function {first}"));
        }
        match &first.kind {
            WordKind::Nil => self.fail(first.at, first, "nil is not a command"),
            _ => self.word(dot, first),
        }
    }

    /// The value of a word that is no call with arguments.
    fn word(&mut self, dot: &Value, word: &'a Word) -> Done<Value> {
        match &word.kind {
            WordKind::Dot => Ok(dot.clone()),
            WordKind::Nil => Ok(Value::Empty(Empty::Nothing)),
            WordKind::Constant(value, _) => Ok(value.clone()),
            WordKind::Pipe(pipe) => self.declared(dot, pipe),
            WordKind::Function(function) => self.apply(word.at, word, function, Vec::new()),
            WordKind::Field(_) | WordKind::Chain(..) | WordKind::Variable(..) => {
                self.fields(dot, word, &[], None)
            }
        }
    }

    /// A chain of fields; only the last may be given arguments.
    fn fields(&mut self, dot: &Value, word: &'a Word, rest: &'a [Word], last: Option<Value>) -> Done<Value> {
        let (mut value, names) = match &word.kind {
            WordKind::Field(names) => (dot.clone(), names),
            WordKind::Chain(inner, names) => (self.word(dot, inner)?, names),
            WordKind::Variable(name, names) => {
                let found = self.variables.iter().rev().find(|(own, _)| own == name);
                (found.expect("the parser knows all variables").1.clone(), names)
            }
            _ => unreachable!("only these have fields"),
        };
        for name in names {
            value = self.field(word, &value, name)?;
        }
        let name = names.last().map_or("", String::as_str);
        let count = rest.len() + usize::from(last.is_some());
        match value {
            Value::Labels(labels) => {
                if count != 1 {
                    let message = format!("wrong number of args for {name}: want 1 got {count}");
                    return self.fail(word.at, word, message);
                }
                let key = match rest.first() {
                    Some(key) => self.word(dot, key)?,
                    None => last.expect("there is one"),
                };
                match key {
                    Value::Text(key) => Ok(Value::text(labels.get(&key))),
                    other => {
                        let message =
                            format!("wrong type for value; expected string; got {}", other.type_name());
                        self.fail(word.at, word, message)
                    }
                }
            }
            value if count == 0 => Ok(value),
            _ if names.is_empty() => {
                self.fail(word.at, word, format!("can't give argument to non-function {word}"))
            }
            _ => self.fail(word.at, word, format!("{name} is not a method but has arguments")),
        }
    }

    fn field(&self, word: &Word, value: &Value, name: &str) -> Done<Value> {
        match value {
            Value::Map(map) => match map.get(name) {
                Some(value) => Ok(value.clone()),
                None if map.kind == Kind::Row => {
                    let known: Vec<String> =
                        map.sorted().into_iter().map(|(name, _)| format!(".{name}")).collect();
                    let error = self.fail(word.at, word, format!("can't evaluate field {name} in a row"));
                    error.map_err(|error: TemplateError| {
                        error.hinting(format!("there are {}", known.join(" ")))
                    })
                }
                None => self.fail(word.at, word, format!("map has no entry for key {}", print::quote(name))),
            },
            Value::Empty(Empty::Nothing) => {
                self.fail(word.at, word, format!("nil data; no entry for key {}", print::quote(name)))
            }
            Value::Empty(_) => {
                self.fail(word.at, word, format!("nil pointer evaluating interface {{}}.{name}"))
            }
            _ => self.fail(word.at, word, format!("can't evaluate field {name} in type interface {{}}")),
        }
    }

    fn call(
        &mut self,
        dot: &Value,
        command: &'a Command,
        function: &'static Function,
        last: Option<Value>,
    ) -> Done<Value> {
        let words = &command.words[1..];
        if let Some(complaint) = function.wrong_count(words.len() + usize::from(last.is_some())) {
            return self.fail(command.at, &command.words[0], complaint);
        }
        if let Body::And | Body::Or = function.body {
            let stops_at = matches!(function.body, Body::Or);
            let mut value = Value::Empty(Empty::Nothing);
            for word in words {
                value = self.word(dot, word)?;
                if value.is_true() == stops_at {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut given = Vec::with_capacity(words.len() + 1);
        for word in words {
            given.push(self.word(dot, word)?);
        }
        given.extend(last);
        if function.name == "call" {
            let message = match words.first() {
                Some(word) => format!("non-function {word} of type {}", given[0].type_name()),
                None => format!("non-function of type {}", given[0].type_name()),
            };
            return self.fail(command.at, command, format!("error calling call: {message}"));
        }
        if let Some((position, complaint)) = self.complaint(function, &given) {
            return match words.get(position) {
                Some(word) => self.fail(word.at, word, complaint),
                None => self.fail(command.at, &command.words[0], complaint),
            };
        }
        self.apply(command.at, command, function, given)
    }

    /// What is wrong with the types of the arguments; titles take any.
    fn complaint(&self, function: &Function, given: &[Value]) -> Option<(usize, String)> {
        let is_title = self.mode == Mode::Titles && matches!(function.body, Body::Format(_));
        if is_title { None } else { function.wrong_type(given) }
    }

    fn apply(
        &self,
        at: usize,
        context: &dyn ToString,
        function: &Function,
        given: Vec<Value>,
    ) -> Done<Value> {
        if let Some(complaint) = function.wrong_count(given.len()) {
            return self.fail(at, context, complaint);
        }
        let result = match function.body {
            Body::Format(_) if self.mode == Mode::Titles => Ok(given[0].clone()),
            Body::Call(body) | Body::Format(body) => body(&given),
            Body::And | Body::Or => Ok(given[0].clone()),
        };
        match result {
            Ok(value) => Ok(value),
            Err(message) => self.fail(at, context, format!("error calling {}: {message}", function.name)),
        }
    }
}

fn index(at: usize) -> Value {
    Value::Int(i128::try_from(at).unwrap_or(i128::MAX))
}

/// A row of a list from its fields.
pub(super) fn row(fields: impl IntoIterator<Item = (Arc<str>, Value)>) -> Value {
    Value::Map(Arc::new(super::value::Map::row(fields.into_iter().collect())))
}
