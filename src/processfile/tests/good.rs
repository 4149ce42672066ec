//! What is accepted, and what it becomes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{HugePages, Idle, Limits, Output, Pool, Runtime, Shutdown, default_pool, load, nearest, parse};
use super::Place;

#[test]
fn the_file_of_the_manual() {
    let place = Place::new();
    let text = r#"{
      "pools": [
        { "name": "billing", "runtime": "php",            // php | python | native ("command": [...])
          "preload": "bootstrap.php",
          "cwd": "app", "env": { "APP_ENV": "prod", N: 1.50, "DEBUG": false }, "interpreter": ["php", "-d", "opcache.enable_cli=1"],
          "user": "www-data", "group": "www-data",
          "default": true,                                 /* one
            comment */
          "idle": 4,
          "max_running": 65, "max_queued": 1001,
          "timeout": "5m", "kill_timeout": "11s", "preload_timeout": "31s", "keep": "25h",
          "entries": ["App\\Jobs\\*", "bin/console"],
          "shutdown": "full", "huge_pages": "off",
          "output": "capture",
          "limits": { "memory": "512M", "cpu_time": 60001, "open_files": 1024, "core": 0 }, },
      ]
    }"#;
    let file = place.parse(text).unwrap();
    let text = |text: &str| text.to_owned();
    let env = [("APP_ENV", "prod"), ("N", "1.50"), ("DEBUG", "false")];
    assert_eq!(file.path, place.path().join("f"));
    assert_eq!(file.folder, place.path());
    assert_eq!(
        file.pools,
        [Pool {
            name: text("billing"),
            runtime: Runtime::Php,
            command: None,
            preload: Some(place.path().join("bootstrap.php")),
            cwd: place.path().join("app"),
            env: env.iter().map(|(key, value)| (text(key), text(value))).collect(),
            interpreter: vec![text("php"), text("-d"), text("opcache.enable_cli=1")],
            user: Some(text("www-data")),
            group: Some(text("www-data")),
            default: true,
            idle: Idle { min: 4, max: 4 },
            max_running: 65,
            max_queued: 1001,
            timeout: Some(Duration::from_secs(300)),
            kill_timeout: Duration::from_secs(11),
            preload_timeout: Duration::from_secs(31),
            keep: Duration::from_secs(25 * 3600),
            entries: Some(vec![text("App\\Jobs\\*"), text("bin/console")]),
            shutdown: Shutdown::Full,
            huge_pages: HugePages::Off,
            output: Output::Capture,
            limits: Limits {
                memory: Some(512 << 20),
                cpu_time: Some(Duration::from_secs(61)),
                open_files: Some(1024),
                core: Some(0),
            },
            watch: None,
        }]
    );
}

#[test]
fn the_shortest_pool_gets_the_defaults() {
    let place = Place::new();
    let file = place.parse("{pools:[{name:\"a\",runtime:\"python\"}]}").unwrap();
    assert_eq!(
        file.pools,
        [Pool {
            name: "a".to_owned(),
            runtime: Runtime::Python,
            command: None,
            preload: None,
            cwd: place.path().to_owned(),
            env: BTreeMap::new(),
            interpreter: vec!["python3".to_owned()],
            user: None,
            group: None,
            default: false,
            idle: Idle::default(),
            max_running: 64,
            max_queued: 1000,
            timeout: None,
            kill_timeout: Duration::from_secs(10),
            preload_timeout: Duration::from_secs(30),
            keep: Duration::from_secs(86_400),
            entries: None,
            shutdown: Shutdown::Fast,
            huge_pages: HugePages::Auto,
            output: Output::Log,
            limits: Limits::default(),
            watch: None,
        }]
    );
}

#[test]
fn a_key_may_be_in_camel_case() {
    let text = r#"{pools:[{name:"a",runtime:"php",maxRunning:3,"maxQueued":4,killTimeout:5,
        preloadTimeout:"6s", limits:{cpuTime:"7s",openFiles:88}}]}"#;
    let pool = Place::new().parse(text).unwrap().pools.remove(0);
    assert_eq!((pool.max_running, pool.max_queued), (3, 4));
    assert_eq!(pool.kill_timeout, Duration::from_millis(5));
    assert_eq!(pool.preload_timeout, Duration::from_secs(6));
    assert_eq!(pool.limits.cpu_time, Some(Duration::from_secs(7)));
    assert_eq!(pool.limits.open_files, Some(88));
}

#[test]
fn a_program_with_a_slash_is_relative_to_the_folder() {
    let place = Place::new();
    let pools = |keys: &str| place.parse(&format!("{{pools:[{{name:\"a\",{keys}}}]}}")).unwrap().pools;
    let tool = place.path().join("bin/tool").to_str().unwrap().to_owned();
    let native = pools("runtime:\"native\",command:[\"./bin//tool\",\"x/y\"]").remove(0);
    assert_eq!(native.command, Some(vec![tool.clone(), "x/y".to_owned()]));
    assert_eq!(native.interpreter, Vec::<String>::new());
    let php = pools("runtime:\"php\",interpreter:[\"bin/tool\"]").remove(0);
    assert_eq!(php.interpreter, [tool]);
    let found = pools("runtime:\"native\",command:[\"tool\"]").remove(0);
    assert_eq!(found.command, Some(vec!["tool".to_owned()]));
}

#[test]
fn the_default_pool_is_the_marked_or_the_only_one() {
    let place = Place::new();
    let pools = |text: &str| place.parse(&format!("{{pools:[{text}]}}")).unwrap().pools;
    let name = |text: &str| default_pool(&pools(text)).map(|pool| pool.name.clone());
    assert_eq!(name(""), None);
    assert_eq!(name("{name:\"a\",runtime:\"php\"}").as_deref(), Some("a"));
    assert_eq!(name("{name:\"a\",runtime:\"php\"},{name:\"b\",runtime:\"php\"}"), None);
    let second = "{name:\"a\",runtime:\"php\"},{name:\"b\",runtime:\"php\",default:true}";
    assert_eq!(name(second).as_deref(), Some("b"));
}

#[test]
fn a_byte_order_mark_is_no_column() {
    let place = Place::new();
    let text = "\u{feff}{pools:[{name:\"a\",runtime:\"php\"}]}";
    assert_eq!(place.parse(text).unwrap().pools.len(), 1);
    assert_eq!(place.errors("\u{feff}{pools:7}"), "f:1:8: pools: expected a list of pools, found 7");
}

#[test]
fn a_file_is_loaded_from_where_it_is() {
    let place = Place::new();
    let path = place.path().join("process.json");
    std::fs::write(&path, "{pools:[{name:\"a\",runtime:\"php\",preload:\"bootstrap.php\"}]}").unwrap();
    let file = load(&path).unwrap();
    assert_eq!(file.pools[0].preload, Some(place.path().join("bootstrap.php")));
    let again = parse(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    assert_eq!((file.path, file.pools), (again.path, again.pools));
}

#[test]
fn the_nearest_name_is_at_most_a_slip_away() {
    let known = ["preload", "idle", "max_running", "user"];
    let near = |word| nearest(word, known);
    assert_eq!(near("preloads"), Some("preload"));
    assert_eq!(near("Preload"), Some("preload"));
    assert_eq!(near("prelaod"), Some("preload"));
    assert_eq!(near("max-runing"), Some("max_running"));
    assert_eq!(near("idel"), Some("idle"));
    assert_eq!(near("x"), None);
    assert_eq!(near("something"), None);
    assert_eq!(near(""), None);
    assert_eq!(near(&"preload".repeat(1_000_000)), None);
}

#[test]
fn idle_children_are_a_number_or_bounds() {
    let place = Place::new();
    for (idle, min, max) in
        [("3", 3, 3), ("{max: 64}", 0, 64), ("{\"min\": 2, \"max\": 2}", 2, 2), ("{min:1,max:9}", 1, 9)]
    {
        let pool =
            place.parse(&format!("{{pools:[{{name:\"a\",runtime:\"php\",idle:{idle}}}]}}")).unwrap().pools.remove(0);
        assert_eq!(pool.idle, Idle { min, max }, "{idle}");
        let again = place.parse(&serde_json::json!({"pools": [pool.to_json()]}).to_string()).unwrap().pools.remove(0);
        assert_eq!(again, pool);
    }
}
