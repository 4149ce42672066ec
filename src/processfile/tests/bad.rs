//! What is refused, and the exact words.

use super::Place;

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let text = r#"{
  "pools": [
    {
      "name": "billing", "runtime": "php",
      "idle": "four",
      "preloads": "bootstrap.php",
      "limits": { "memory": "lots", "cores": 0 }
    },
    { "name": "mail", "runtime": "pyton", "idle": 1.5, "default": "yes" },
    { "name": "billing", "runtime": "native" }
  ],
  "pool": []
}"#;
    let expected = r#"f:5:15: pools[0].idle (pool "billing"): expected a whole number from 0 to 10000, or { "min": …, "max": … }, found "four"
f:6:7: pools[0].preloads (pool "billing"): unknown key "preloads"; did you mean "preload"?
f:7:29: pools[0].limits.memory (pool "billing"): expected a size: a whole number of bytes, or text such as "512K", "64M", "2G", found "lots"
f:7:37: pools[0].limits.cores (pool "billing"): unknown key "cores"; did you mean "core"?
f:9:34: pools[1].runtime (pool "mail"): expected "php" or "python" or "native", found "pyton"; did you mean "python"?
f:9:51: pools[1].idle (pool "mail"): expected a whole number from 0 to 10000, found 1.5
f:9:67: pools[1].default (pool "mail"): expected true or false, found "yes"
f:10:5: pools[2].command (pool "billing"): missing: expected the program of the native pool and its arguments
f:10:15: pools[2].name (pool "billing"): the name "billing" is used twice, first in line 4
f:12:3: pool: unknown key "pool"; did you mean "pools"?"#;
    assert_eq!(Place::new().errors(text), expected);
}

#[test]
fn a_fault_of_syntax_says_where_and_what_was_expected() {
    let place = Place::new();
    for (text, expected) in [
        ("", "f:1:1: the file has no value: expected { \"pools\": [ … ] }"),
        ("// nothing\n", "f:2:1: the file has no value: expected { \"pools\": [ … ] }"),
        ("{\n \"pools\": [\n  { \"name\": \"a\"", "f:3:3: an object is not closed: expected }"),
        ("{\n \"pools\": [", "f:2:11: a list is not closed: expected ]"),
        ("{\"pools\":", "f:1:10: expected a value after the colon"),
        ("{\"pools\"", "f:1:9: expected a colon after the key"),
        ("{pools:[]\n/* for ever", "f:2:1: a comment is not closed: expected */"),
        ("{pools:[\n{name:\"a,\n runtime:\"php\"}]}", "f:2:7: a string is not closed in its line: expected \""),
        ("{pools:[{name:\"a", "f:1:15: a string is not closed: expected \""),
        ("{pools:[{name:\"a\" runtime:\"php\"}]}", "f:1:18: expected a comma before the next value"),
        ("{pools:[] apps:[]}", "f:1:10: expected a comma before the next value"),
        ("{pools:[1 2]}", "f:1:10: expected a comma before the next value"),
        ("{pools:[,]}", "f:1:9: expected a value, found a comma"),
        ("{pools:[}]}", "f:1:9: expected a value, found }"),
        ("{pools:]}", "f:1:8: expected a value, found ]"),
        ("{,}", "f:1:2: expected a key or }"),
        ("{pools:[{runtime: php}]}", "f:1:19: expected a value, found php; text stands in double quotes"),
        ("{pools:[{runtime: php\n}]}", "f:1:19: expected a value, found php; text stands in double quotes"),
        ("{pools:[{runtime: 'php'}]}", "f:1:19: expected text in double quotes, found a single quote"),
        ("{pools:[{idle: 0x10}]}", "f:1:16: expected a number in digits, such as 64"),
        ("{pools:[{idle: +1}]}", "f:1:16: expected a number in digits, such as 64"),
        (
            "{pools:[{entries:[\"App\\Jobs\"]}]}",
            "f:1:23: expected an escape such as \\n; a backslash itself is written twice: \\\\",
        ),
        ("{pools:[]}{}", "f:1:11: expected the end of the file after the first value"),
        ("{pools=[]}", "f:1:2: expected a value, found pools; text stands in double quotes"),
        ("\0", "f:1:1: expected a key or a value, found \\0"),
        ("{ü:1,\n\"éé\":[;]}", "f:2:7: expected a key or a value, found ;"),
    ] {
        assert_eq!(place.errors(text), expected, "{text}");
    }
}

#[test]
fn the_top_is_an_object_with_pools() {
    let place = Place::new();
    for (text, expected) in [
        ("7", "f:1:1: expected an object, { \"pools\": [ … ], \"apps\": [ … ] }, found a number"),
        ("{}", "f:1:1: pools: missing: expected a list of pools, or \"apps\", a list of apps"),
        ("{pools:{}}", "f:1:8: pools: expected a list of pools, found an object"),
        ("{pools:[7]}", "f:1:9: pools[0]: expected an object, found 7"),
        (
            "{pools:[{}]}",
            "f:1:9: pools[0].name: missing: expected a name\n\
            f:1:9: pools[0].runtime: missing: expected \"php\", \"python\" or \"native\"",
        ),
        ("{pools:[],apps:7}", "f:1:16: apps: expected a list of apps, found 7"),
        ("{pools:[],\n$schema:1}", "f:2:9: $schema: expected the address of a schema, found 1"),
        ("{pools:[],\npools:[]}", "f:2:1: pools: duplicate key \"pools\" in line 2, first in line 1"),
        (
            "{pools:[], colour:1}",
            "f:1:12: colour: unknown key \"colour\"; expected one of $schema, pools, apps, deploy",
        ),
    ] {
        assert_eq!(place.errors(text), expected, "{text}");
    }
}

#[test]
fn each_key_says_what_it_expects() {
    let place = Place::new();
    let at = |column: u32, rest: &str| format!("f:2:{column}: pools[0].{rest}");
    let time = "expected a time from 1ms to 8784h: a whole number of milliseconds, or text such as \"500ms\", \"10s\", \"5m\", \"1h\"";
    for (keys, expected) in [
        ("idle: -1", at(7, "idle (pool \"a\"): expected a whole number from 0 to 10000, found -1")),
        ("idle: 99999999999999999999", at(7, "idle (pool \"a\"): expected a whole number from 0 to 10000, found 99999999999999999999")),
        ("idle: 1e3", at(7, "idle (pool \"a\"): expected a whole number from 0 to 10000, found 1e3")),
        ("idle: null", at(7, "idle (pool \"a\"): expected a whole number from 0 to 10000, or { \"min\": …, \"max\": … }, found null (leave the key out to get the default)")),
        ("idle: 65", at(7, "idle (pool \"a\"): expected at most 64, which is max_running, found 65")),
        ("max_running: 2, idle: 3", at(23, "idle (pool \"a\"): expected at most 2, which is max_running, found 3")),
        ("max_running: 0, idle: 3", at(14, "max_running (pool \"a\"): expected a whole number from 1 to 100000, found 0")),
        ("maxRunning: 1,\nmax_running: 2", "f:3:1: pools[0].max_running (pool \"a\"): key \"max_running\" in line 3 is the same as \"maxRunning\" in line 2".to_owned()),
        ("timeout: \"soon\"", at(10, &format!("timeout (pool \"a\"): {time}, found \"soon\""))),
        ("timeout: 1.5", at(10, &format!("timeout (pool \"a\"): {time}, found 1.5"))),
        ("timeout: \"999999999d\"", at(10, &format!("timeout (pool \"a\"): {time}, found \"999999999d\""))),
        ("timeout: -5", at(10, &format!("timeout (pool \"a\"): {time}, found -5"))),
        ("timeout: 0", at(10, "timeout (pool \"a\"): expected a time from 1ms to 8784h, found 0")),
        ("kill_timeout: \"2h\"", at(15, "kill_timeout (pool \"a\"): expected a time from 0 to 1h, found \"2h\"")),
        ("script: \"x\"", "f:2:1: pools[0].script (pool \"a\"): unknown key \"script\": apps have it, pools have not".to_owned()),
        ("limits: []", at(9, "limits (pool \"a\"): expected an object, found a list")),
        ("limits: {memory: \"1K\"}", at(18, "limits.memory (pool \"a\"): expected a size from 1M to 1048576G, found \"1K\"")),
        ("limits: {open_files: 3}", at(22, "limits.open_files (pool \"a\"): expected a whole number from 16 to 1073741824, found 3")),
        ("entries: \"x\"", at(10, "entries (pool \"a\"): expected a list of patterns such as \"App\\\\Jobs\\\\*\", found \"x\"")),
        ("entries: []", at(10, "entries (pool \"a\"): expected a list of patterns such as \"App\\\\Jobs\\\\*\", found an empty one")),
        ("entries: [\"App\\bee\"]", at(11, "entries[0] (pool \"a\"): expected no control characters (write a backslash twice), found \"App\\u{8}ee\"")),
        ("huge_pages: \"on\"", at(13, "huge_pages (pool \"a\"): expected \"auto\" or \"off\", found \"on\"")),
        ("shutdown: \"slow\"", at(11, "shutdown (pool \"a\"): expected \"fast\" or \"full\", found \"slow\"")),
        ("output: 1", at(9, "output (pool \"a\"): expected \"log\" or \"capture\" or \"inherit\" or \"none\", found 1")),
        ("user: \"\"", at(7, "user (pool \"a\"): expected a name, found empty text")),
        ("group: \"a:b\"", at(8, "group (pool \"a\"): expected a name, found \"a:b\"")),
        ("cwd: \"nowhere\"", at(6, "cwd (pool \"a\"): expected a folder, but \"DIR/nowhere\": No such file or directory (os error 2)")),
        ("cwd: \"bin/tool\"", at(6, "cwd (pool \"a\"): expected a folder, but \"DIR/bin/tool\": not a folder")),
        ("cwd: \"a\\u0000b\"", at(6, "cwd (pool \"a\"): expected the path of a folder, found text with a NUL byte")),
        ("preload: \"none.php\"", at(10, "preload (pool \"a\"): expected a readable file, but \"DIR/none.php\": No such file or directory (os error 2)")),
        ("preload: \"app\"", at(10, "preload (pool \"a\"): expected a readable file, but \"DIR/app\": not a regular file")),
        ("command: [\"x\"]", at(10, "command (pool \"a\"): expected only with \"runtime\": \"native\"; here it is \"interpreter\" that starts")),
        ("interpreter: \"php\"", at(14, "interpreter (pool \"a\"): expected a list of text, first the program, then its arguments, found \"php\"")),
        ("interpreter: [\"bin/text\"]", at(15, "interpreter[0] (pool \"a\"): expected a program, but \"DIR/bin/text\": not executable")),
        ("interpreter: [\"php\", 1, \"\"]",
            at(22, "interpreter[1] (pool \"a\"): expected text, first the program, then its arguments, found 1\n")
            + &at(25, "interpreter[2] (pool \"a\"): expected text, first the program, then its arguments, found empty text")),
    ] {
        assert_eq!(place.pool_errors(keys), expected, "{keys}");
    }
}

#[test]
fn a_native_pool_takes_neither_interpreter_nor_preload() {
    let text = "{pools:[{name:\"a\",runtime:\"native\",\ncommand:[\"bin/none\"],\ninterpreter:[\"php\"],\npreload:\"bootstrap.php\"}]}";
    let expected = "\
f:2:10: pools[0].command[0] (pool \"a\"): expected a program, but \"DIR/bin/none\": No such file or directory (os error 2)
f:3:13: pools[0].interpreter (pool \"a\"): expected only with \"php\" or \"python\"; a native pool is started by \"command\"
f:4:9: pools[0].preload (pool \"a\"): expected only with \"php\" or \"python\"; a native program preloads by itself";
    assert_eq!(Place::new().errors(text), expected);
}

#[test]
fn names_are_short_and_plain() {
    let place = Place::new();
    let errors = |name: &str| place.errors(&format!("{{pools:[{{name:{name},runtime:\"php\"}}]}}"));
    let rule = "expected a name of letters, digits, \".\", \"_\" and \"-\" that begins with a letter or digit";
    for name in ["a b", "-a", ".a", "ä", "a/b"] {
        assert_eq!(
            errors(&format!("\"{name}\"")),
            format!("f:1:15: pools[0].name (pool \"{name}\"): {rule}, found \"{name}\"")
        );
    }
    assert_eq!(errors("\"\""), "f:1:15: pools[0].name (pool \"\"): expected a name, found empty text");
    assert_eq!(errors("5"), "f:1:15: pools[0].name: expected a name, found 5");
    let long = format!("\"{}\"", "a".repeat(65));
    assert!(errors(&long).ends_with("a…\"): expected a name of at most 64 bytes, found 65"), "{}", errors(&long));
    let fine = format!("{{pools:[{{name:\"{}\",runtime:\"php\"}}]}}", "a".repeat(64));
    assert!(place.parse(&fine).is_ok());
}

#[test]
fn one_default_at_most() {
    let text = "{pools:[{name:\"a\",runtime:\"php\",default:true},\n{name:\"b\",runtime:\"php\",default:false},\n{name:\"c\",runtime:\"php\",default:true}]}";
    let expected = "f:3:33: pools[2].default (pool \"c\"): expected one default pool at most; the first is in line 1";
    assert_eq!(Place::new().errors(text), expected);
}

#[test]
fn the_environment_is_checked_but_never_shown() {
    let place = Place::new();
    let long = format!("env: {{ A: \"{}\" }}", "secret".repeat(30_000));
    for (keys, expected) in [
        ("env: [\"secret\"]", "f:2:6: pools[0].env (pool \"a\"): expected an object of variables, found a list"),
        (
            "env: {\"A\": [\"secret\"]}",
            "f:2:12: pools[0].env.A (pool \"a\"): expected text, a number, true or false, found a list",
        ),
        (
            "env: {\"A\": null}",
            "f:2:12: pools[0].env.A (pool \"a\"): expected text, a number, true or false, found null",
        ),
        ("env: {\"A\": \"secret\\u0000\"}", "f:2:12: pools[0].env.A (pool \"a\"): expected text without a NUL byte"),
        (
            "env: {\"A=B\": \"secret\"}",
            "f:2:7: pools[0].env.A=B (pool \"a\"): expected a variable's name without \"=\" and NUL, not empty",
        ),
        (
            "env: {A: \"secret\",\nA: \"secret\"}",
            "f:3:1: pools[0].env.A (pool \"a\"): duplicate key \"A\" in line 3, first in line 2",
        ),
        (
            "env: {PREFORKD_ZYGOTE: \"secret\"}",
            "f:2:7: pools[0].env.PREFORKD_ZYGOTE (pool \"a\"): expected another name: this variable is the supervisor's own",
        ),
        (&long, "f:2:11: pools[0].env.A (pool \"a\"): expected at most 128 KiB, which is what a process can be given"),
    ] {
        assert_eq!(place.pool_errors(keys), expected);
    }
    // Told apart from a key of ours: neither spelling is touched.
    let both = "{pools:[{name:\"a\",runtime:\"php\",env:{max_running:1,maxRunning:2}}]}";
    assert_eq!(place.parse(both).unwrap().pools[0].env.len(), 2);
}

#[test]
fn what_a_file_says_cannot_drive_a_terminal() {
    let errors = Place::new().pool_errors("\"\\u001b[2Jidle\\n\": 1, output: \"\\u001b]0;\\u0007\\u202e\"");
    assert!(!errors.contains(|character: char| character.is_control() && character != '\n'), "{errors:?}");
    assert_eq!(errors.lines().count(), 2);
    assert!(errors.contains("unknown key \"\\u{1b}[2Jidle\\n\""), "{errors}");
}

#[test]
fn bounds_of_idle_children_are_two_numbers_in_order() {
    let place = Place::new();
    for (idle, expected) in [
        (
            "[]",
            "f:1:38: pools[0].idle (pool \"a\"): expected a whole number from 0 to 10000, or { \"min\": …, \"max\": … }, found a list",
        ),
        ("{min:2}", "f:1:38: pools[0].idle.max (pool \"a\"): missing: expected a whole number"),
        ("{max:\"x\"}", "f:1:43: pools[0].idle.max (pool \"a\"): expected a whole number from 0 to 10000, found \"x\""),
        ("{min:5,max:4}", "f:1:38: pools[0].idle (pool \"a\"): expected a min of at most max, which is 4, found 5"),
        ("{most:4,max:4}", "f:1:39: pools[0].idle.most (pool \"a\"): unknown key \"most\"; expected one of min, max"),
        ("{min:1,max:65}", "f:1:38: pools[0].idle (pool \"a\"): expected at most 64, which is max_running, found 65"),
    ] {
        assert_eq!(place.errors(&format!("{{pools:[{{name:\"a\",runtime:\"php\",idle:{idle}}}]}}")), expected);
    }
}
