//! YAML mapped to the tree: plain words as the core schema of YAML 1.2 reads them, anchors, aliases, and merge keys
//! (`<<`), since pm2's files use them.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::jsonc::SyntaxError;
use super::tree::{Entry, Node, Value};

/// How deep lists and objects may lie in each other.
const DEPTH: usize = 128;
/// Nodes that a file may have once its aliases are written out: a small text could become anything.
const NODES: usize = 1_000_000;
/// So many bytes of text count as a node more.
const TEXT: usize = 64;

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut document = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(_), span) if document.is_some() => {
                return Err(fault(&span, "expected one document, found another one"));
            }
            (Event::DocumentStart(_), _) => {
                let (event, span) = reader.next()?;
                document = Some(reader.node(event, &span, 0)?);
            }
            _ => {}
        }
    }
    let empty =
        || SyntaxError { line: 1, column: 1, message: "the file has no value: expected apps or pools".to_owned() };
    document.ok_or_else(empty)
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

fn place(span: &Span) -> (u32, u32) {
    (span.start.line() as u32, span.start.col() as u32 + 1)
}

fn fault(span: &Span, message: &str) -> SyntaxError {
    let (line, column) = place(span);
    SyntaxError { line, column, message: message.to_owned() }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), SyntaxError> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(e)) => {
                let mark = e.marker();
                let (line, column) = (mark.line() as u32, mark.col() as u32 + 1);
                Err(SyntaxError { line, column, message: e.info().to_owned() })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, SyntaxError> {
        if depth > DEPTH {
            return Err(fault(span, "lists and objects are nested too deep"));
        }
        count(&mut self.nodes, span, 1)?;
        let (line, column) = place(span);
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.suffix != "str");
                (anchor, if plain { word(&text) } else { Value::Text(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, &span, depth + 1)?),
                    }
                }
                (anchor, Value::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, Value::Object(self.entries(depth)?)),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor);
                let node =
                    node.ok_or_else(|| fault(span, "this alias stands for something that holds it, or for nothing"))?;
                // Before it is copied.
                count(&mut self.nodes, span, size(node))?;
                return Ok(Node { line, column, ..node.clone() });
            }
            _ => return Err(fault(span, "expected a value")),
        };
        let node = Node { value, line, column };
        if anchor != 0 {
            count(&mut self.nodes, span, size(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, SyntaxError> {
        let (mut own, mut merged): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let (line, column) = place(&span);
            let key = match self.node(event, &span, depth + 1)?.value {
                Value::Text(text) | Value::Number(text) => text,
                Value::Bool(flag) => flag.to_string(),
                _ => return Err(fault(&span, "expected text as a key")),
            };
            let (event, at) = self.next()?;
            let node = self.node(event, &at, depth + 1)?;
            if key != "<<" {
                own.push(Entry { key, line, column, node });
                continue;
            }
            let sources = match node.value {
                Value::List(items) => items,
                _ => vec![node],
            };
            for source in sources {
                let Value::Object(entries) = source.value else {
                    return Err(fault(&at, "expected an object, or a list of them, to merge"));
                };
                merged.extend(entries);
            }
        }
        // What is written here wins over what is merged, and an earlier merge over a later one.
        if !merged.is_empty() {
            let mut keys: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
            own.extend(merged.into_iter().filter(|entry| keys.insert(entry.key.clone())));
        }
        Ok(own)
    }
}

fn count(nodes: &mut usize, span: &Span, more: usize) -> Result<(), SyntaxError> {
    *nodes += more;
    if *nodes > NODES {
        Err(fault(span, "the file becomes too large when its aliases are written out"))
    } else {
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Object(entries) => entries.iter().map(|entry| entry.key.len() / TEXT + size(&entry.node)).sum(),
        Value::Text(text) | Value::Number(text) => text.len() / TEXT,
        _ => 0,
    }
}

/// A plain word, by the core schema (YAML 1.2.2, chapter 10.3.2).
fn word(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.trim_start_matches('+').to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.clone(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
            Value::Object(entries) => {
                let entries: Vec<String> = entries.iter().map(|e| format!("{}:{}", e.key, show(&e.node))).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    #[test]
    fn words_anchors_and_merges() {
        let text = "base: &b\n  a: 1\n  b: yes\napps:\n  - <<: *b\n    a: '2'\n    c: [x, 1.5, ~, true]\n  - *b\n";
        let node = parse(text).ok().unwrap();
        assert_eq!(show(&node), r#"{base:{a:1,b:"yes"},apps:[{a:"2",c:["x",1.5,null,true],b:"yes"},{a:1,b:"yes"}]}"#);
        let Value::Object(entries) = &node.value else { panic!() };
        assert_eq!((entries[1].line, entries[1].column), (4, 1));
    }

    #[test]
    fn faults_have_a_place_and_bombs_do_not_go_off() {
        let error = |text: &str| parse(text).err().map(|e| (e.line, e.message)).unwrap();
        assert_eq!(error("a: 1\nb: [1, 2\n").0, 3);
        assert!(error("a: 1\n---\nb: 2\n").1.contains("one document"));
        let deep = error(&"[".repeat(5000)).1;
        assert!(deep.contains("deep") || deep.contains("recursion"), "{deep}");
        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            bomb += &format!("a{n}: &a{n} [{}]\n", [before.as_str(); 10].join(","));
        }
        assert!(error(&bomb).1.contains("too large"));
    }
}
