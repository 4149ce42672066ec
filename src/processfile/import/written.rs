//! The process file that an import writes: JSON with comments, made to be read and edited.

use serde_json::Value;

/// An app as it is going to be written.
#[derive(Default)]
pub(super) struct Draft {
    /// Lines above it.
    pub comments: Vec<String>,
    /// In the order in which they are written; `name` is the first.
    keys: Vec<(&'static str, Value)>,
    /// `env_NAME`s.
    named: Vec<(String, Value)>,
}

impl Draft {
    pub fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.keys.push((key, value.into()));
    }

    pub fn put_if(&mut self, condition: bool, key: &'static str, value: impl Into<Value>) {
        if condition {
            self.put(key, value);
        }
    }

    pub fn some<T: Into<Value>>(&mut self, key: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    pub fn named_env(&mut self, key: String, value: Value) {
        self.named.push((key, value));
    }
}

/// The width up to which a list or an object stays on its line.
const WIDTH: usize = 100;

/// The whole file.
pub(super) fn file(head: &[String], apps: &[Draft]) -> String {
    let mut out = String::new();
    for line in head {
        comment(&mut out, "", line);
    }
    out.push_str("{\n  \"apps\": [\n");
    for app in apps {
        for line in &app.comments {
            comment(&mut out, "    ", line);
        }
        out.push_str("    {\n");
        let keys = app.keys.iter().map(|(key, value)| (*key, value));
        let all = keys.chain(app.named.iter().map(|(key, value)| (key.as_str(), value)));
        for (key, value) in all {
            let text = format!("      {}: {}", Value::from(key), laid_out(value, 6));
            out.push_str(&text);
            out.push_str(",\n");
        }
        out.push_str("    },\n\n");
    }
    if !apps.is_empty() {
        // The blank line between two apps.
        out.pop();
    }
    out.push_str("  ],\n}\n");
    out
}

/// A comment ends where its line does, so that nothing in it may end the line.
fn comment(out: &mut String, indent: &str, text: &str) {
    let safe: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = format!("{indent}// {}", safe.trim_end());
    out.push_str(line.trim_end());
    out.push('\n');
}

fn laid_out(value: &Value, indent: usize) -> String {
    let one_line = value.to_string();
    let inner: Vec<String> = match value {
        Value::Array(items) if one_line.len() > WIDTH => items.iter().map(|item| laid_out(item, indent + 2)).collect(),
        Value::Object(entries) if entries.len() > 2 || one_line.len() > WIDTH => entries
            .iter()
            .map(|(key, item)| format!("{}: {}", Value::from(key.as_str()), laid_out(item, indent + 2)))
            .collect(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| laid_out(item, indent)).collect();
            return format!("[{}]", items.join(", "));
        }
        Value::Object(entries) if !entries.is_empty() => {
            let entry =
                |(key, item): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), laid_out(item, indent));
            return format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "));
        }
        _ => return one_line,
    };
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    let (pad, end) = (" ".repeat(indent + 2), " ".repeat(indent));
    let lines: String = inner.iter().map(|line| format!("{pad}{line},\n")).collect();
    format!("{open}\n{lines}{end}{close}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_read_again_as_it_was_written() {
        let mut app = Draft { comments: vec!["one\ntwo".to_owned()], ..Draft::default() };
        let long: Vec<String> = (0..40).map(|n| format!("argument {n}")).collect();
        app.put("name", "a");
        app.put("script", "/bin/echo");
        app.put("args", json!(["-n", "\"x\" // y"]));
        app.put("env", json!({"A": "1", "B": "2", "C": "é\n"}));
        app.put("interpreter_args", long.clone());
        let text = file(&["head".to_owned()], &[app]);
        assert!(
            text.starts_with("// head\n{\n  \"apps\": [\n    // one two\n    {\n      \"name\": \"a\",\n"),
            "{text}"
        );
        assert!(text.contains("      \"args\": [\"-n\", \"\\\"x\\\" // y\"],\n"), "{text}");
        assert!(text.contains("      \"env\": {\n        \"A\": \"1\",\n"), "{text}");
        let (apps, _) = crate::processfile::parse_apps(&text, std::path::Path::new("/x"), &[]).unwrap();
        assert_eq!(apps[0].env.get("C"), Some("é\n"));
        let crate::processfile::Program::Exec { interpreter, .. } = &apps[0].program else { panic!("no program") };
        assert_eq!(*interpreter, long);
    }
}
