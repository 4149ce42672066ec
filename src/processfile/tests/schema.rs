//! The schema and the checker know the same keys, defaults and words.

use serde_json::Value;

use super::super::apps::{ALIASES, APP_KEYS, FOREIGN, LISTEN_KEYS, READY_KEYS};
use super::super::check::FILE_KEYS;
use super::super::fields::{Keys, camel_case};
use super::super::parts::{IDLE_KEYS, LIMITS_KEYS};
use super::super::pool::POOL_KEYS;
use super::super::{HugePages, Output, Runtime, SCHEMA, Shutdown};
use super::Place;

/// What people read of the file.
const PAGE: &str = include_str!("../../../docs/PROCESS-FILE.md");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Every known key, and beside it its camelCase spelling, which refers to it.
fn same_keys(object: &str, known: Keys) {
    let schema = schema();
    let properties = schema.pointer(&format!("{object}/properties")).unwrap().as_object().unwrap();
    let mut expected: Vec<String> = Vec::new();
    for key in known {
        expected.push((*key).to_owned());
        if key.contains('_') {
            let alias = camel_case(key);
            let reference = format!("#{object}/properties/{key}");
            assert_eq!(properties[&alias]["$ref"], Value::from(reference), "{alias}");
            expected.push(alias);
        }
    }
    let mut found: Vec<String> = properties.keys().cloned().collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{object}");
    assert_eq!(schema.pointer(&format!("{object}/additionalProperties")), Some(&Value::Bool(false)));
}

#[test]
fn every_key_is_in_both() {
    same_keys("", FILE_KEYS);
    same_keys("/$defs/pool", POOL_KEYS);
    same_keys("/$defs/limits", LIMITS_KEYS);
    same_keys("/$defs/idle", IDLE_KEYS);
    let schema = schema();
    let app = schema.pointer("/$defs/app/properties").unwrap().as_object().unwrap();
    for key in APP_KEYS {
        assert!(app.contains_key(*key) && app.contains_key(&camel_case(key)), "{key}");
    }
}

#[test]
fn every_key_is_on_the_page() {
    let (rest, apps) = PAGE.split_once("\n## Apps\n").unwrap();
    let (top, pools) = rest.split_once("\n## Pools\n").unwrap();
    let (table, forms) = apps.split_once("\n### Forms of values\n").unwrap();
    let in_code = |text: &str, key: &str| text.contains(&format!("`{key}`"));
    for key in FILE_KEYS {
        assert!(in_code(top, key), "{key}");
    }
    for (keys, rows) in [(POOL_KEYS, pools), (APP_KEYS, table)] {
        for key in keys {
            assert!(rows.lines().any(|row| row.starts_with(&format!("| `{key}` | "))), "{key}");
        }
        for key in LIMITS_KEYS {
            assert!(in_code(rows, key), "limits.{key}");
        }
    }
    for key in READY_KEYS.iter().chain(LISTEN_KEYS) {
        assert!(forms.contains(&format!("\"{key}\": ")), "{key}");
    }
    for (alias, key) in ALIASES {
        let mut rows = forms.lines().filter(|row| row.starts_with("| `") && in_code(row, key));
        assert!(rows.any(|row| in_code(row, alias)), "{alias} of {key}");
    }
    for key in FOREIGN {
        assert!(in_code(forms, key), "{key}");
    }
}

#[test]
fn every_key_is_read() {
    let place = Place::new();
    for key in POOL_KEYS {
        let text = format!("{{pools:[{{{key}:[[]]}}]}}");
        let wanted = format!(": pools[0].{key}");
        assert!(place.errors(&text).lines().any(|line| line.contains(&wanted) && line.contains("found")), "{key}");
    }
    for key in LIMITS_KEYS {
        let text = format!("{{pools:[{{limits:{{{key}:[[]]}}}}]}}");
        assert!(place.errors(&text).contains(&format!("limits.{key}: expected a")), "{key}");
    }
}

#[test]
fn writing_out_the_schemas_defaults_changes_nothing() {
    let place = Place::new();
    let mut keys = String::new();
    for (key, property) in schema().pointer("/$defs/pool/properties").unwrap().as_object().unwrap() {
        if let Some(default) = property.get("default") {
            keys += &format!(",\"{key}\":{default}");
        }
    }
    assert_eq!(keys.matches(':').count(), 10, "{keys}");
    let pool = |keys: &str| place.parse(&format!("{{pools:[{{name:\"a\",runtime:\"php\"{keys}}}]}}")).unwrap();
    assert_eq!(pool(&keys).pools, pool("").pools);
}

#[test]
fn the_words_and_bounds_of_the_schema_are_the_checkers() {
    let schema = schema();
    let property = |key: &str| schema.pointer(&format!("/$defs/pool/properties/{key}")).unwrap().clone();
    let place = Place::new();
    let takes = |key: &str, value: &Value| {
        let command = if value == "native" { ",command:[\"x\"]" } else { "" };
        let runtime = if key == "runtime" { "" } else { ",runtime:\"php\"" };
        let roomy = if key == "idle" { ",max_running:100000" } else { "" };
        let text = format!("{{pools:[{{name:\"a\"{runtime}{command}{roomy},{key}:{value}}}]}}");
        place.parse(&text).ok().map(|mut file| file.pools.remove(0))
    };
    let words = |key: &str| property(key)["enum"].as_array().unwrap().clone();
    let runtimes: Vec<Runtime> = words("runtime").iter().map(|word| takes("runtime", word).unwrap().runtime).collect();
    assert_eq!(runtimes, [Runtime::Php, Runtime::Python, Runtime::Native]);
    for (word, runtime) in words("runtime").iter().zip(&runtimes) {
        assert_eq!(word, runtime.as_str());
    }
    let shutdowns: Vec<Shutdown> =
        words("shutdown").iter().map(|word| takes("shutdown", word).unwrap().shutdown).collect();
    assert_eq!(shutdowns, [Shutdown::Fast, Shutdown::Full]);
    let huge: Vec<HugePages> =
        words("huge_pages").iter().map(|word| takes("huge_pages", word).unwrap().huge_pages).collect();
    assert_eq!(huge, [HugePages::Auto, HugePages::Off]);
    let outputs: Vec<Output> = words("output").iter().map(|word| takes("output", word).unwrap().output).collect();
    assert_eq!(outputs, [Output::Log, Output::Capture, Output::Inherit, Output::None]);
    let idle = property("idle")["anyOf"][0].clone();
    let bounds = schema.pointer("/$defs/idle/properties").unwrap();
    assert_eq!((&bounds["min"]["maximum"], &bounds["max"]["maximum"]), (&idle["maximum"], &idle["maximum"]));
    for (key, numbers) in
        [("idle", idle), ("max_running", property("max_running")), ("max_queued", property("max_queued"))]
    {
        let (least, most) = (numbers["minimum"].as_i64().unwrap(), numbers["maximum"].as_i64().unwrap());
        for (number, fits) in [(least, true), (least - 1, false), (most, true), (most + 1, false)] {
            assert_eq!(takes(key, &number.into()).is_some(), fits, "{key} {number}");
        }
    }
}
