//! Apps: pm2's keys and ours, every form of a file, and the canonical text.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{
    Address, App, Format, Inherit, Instances, Program, Ready, Sink, default_pool, load, parse, parse_apps,
};
use super::Place;

fn one(text: &str) -> App {
    let mut file = Place::new().parse(text).unwrap();
    assert_eq!(file.apps.len(), 1, "{text}");
    file.apps.remove(0)
}

#[test]
fn an_ecosystem_file_of_pm2_as_it_is() {
    let place = Place::new();
    let text = r#"{ "apps": [ {
        name: "api", script: "server.js", cwd: "app", args: ["--port", 8080], interpreter_args: "--max-old-space-size=200",
        exec_mode: "cluster", instances: "max", merge_logs: true, watch: ["src", "lib"], ignoreWatch: ["tmp"],
        "max_memory_restart": "300M", "min_uptime": "5s", maxRestarts: 10, restart_delay: 4000, kill_timeout: 3000,
        wait_ready: true, env: { PORT: 80, DEBUG: false }, env_production: { "NODE_ENV": "production" },
        error: "/dev/null", output: "logs/out.log", log_date_format: "YYYY-MM-DD HH:mm:ss.SSS Z", pmx: false, uid: 33,
        stop_exit_codes: [0, 3], exp_backoff_restart_delay: 100, increment_var: "PORT", autorestart: true } ],
      "deploy": { "production": {} } }"#;
    std::fs::write(place.path().join("app/server.js"), "").unwrap();
    let mut file = place.parse(text).unwrap();
    assert_eq!(file.warnings.len(), 1);
    for word in ["exec_mode", "pmx", "deploy"] {
        assert!(file.warnings[0].contains(word), "{:?}", file.warnings);
    }
    file.choose_env("production").unwrap();
    assert!(file.choose_env("staging").unwrap_err().contains("production"));
    let app = &file.apps[0];
    let folder = place.path().join("app");
    match &app.program {
        Program::Exec { script, args, interpreter } => {
            assert_eq!(Path::new(script), folder.join("server.js"));
            assert_eq!(args, &["--port", "8080"]);
            assert_eq!(interpreter, &["node", "--max-old-space-size=200"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((app.name.as_str(), &app.cwd, app.instances), ("api", &folder, Instances::Processors { less: 0 }));
    assert_eq!((app.env.get("PORT").unwrap(), app.env.get("DEBUG").unwrap()), ("80", "false"));
    assert_eq!(app.env.get("NODE_ENV"), Some("production"));
    let watch = app.watch.as_ref().unwrap();
    assert_eq!((&watch.paths, &watch.ignore), (&vec![folder.join("src"), folder.join("lib")], &vec!["tmp".to_owned()]));
    assert_eq!((app.max_memory_restart, app.max_restarts), (Some(300 << 20), 10));
    assert_eq!((app.min_uptime, app.restart_delay), (Duration::from_secs(5), Some(Duration::from_secs(4))));
    assert_eq!(app.exp_backoff_restart_delay, Some(Duration::from_millis(100)));
    assert_eq!((&app.ready, app.listen_timeout), (&Ready::Notify, Duration::from_secs(3)));
    assert_eq!((&app.logs.error, &app.logs.out), (&Sink::Off, &Sink::File(place.path().join("logs/out.log"))));
    assert_eq!(app.logs.date.as_deref(), Some("%Y-%m-%d %H:%M:%S.%3f %:z"));
    assert_eq!((app.user.as_deref(), &app.stop_exit_codes[..]), (Some("33"), &[0, 3][..]));
    assert_eq!((app.kill_timeout, app.logs.merge), (Duration::from_secs(3), true));
    assert_eq!(app.increment_var.as_deref(), Some("PORT"));
}

#[test]
fn every_form_of_a_file() {
    for text in [
        "[{script:\"/bin/sleep\", args: \"10 'a b'\"}]",
        "{script:\"/bin/sleep\", args: [\"10\", \"a b\"]}",
        "{apps:[{cmd:\"/bin/sleep 10 'a b'\"}]}",
        "{pools:[],apps:[{exec:\"/bin/sleep\", args: [10, \"a b\"], interpreter: \"none\"}]}",
    ] {
        let app = one(text);
        let Program::Exec { script, args, interpreter } = &app.program else { panic!("{text}") };
        assert_eq!(
            (script.as_str(), &args[..], interpreter.len()),
            ("/bin/sleep", &["10".to_owned(), "a b".to_owned()][..], 0)
        );
        assert_eq!(app.name, "sleep", "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eco.yaml");
    std::fs::write(&path, "apps:\n  - name: y\n    script: /bin/sleep\n    args: 5\n    env: {A: 1}\n").unwrap();
    let file = load(&path).unwrap();
    assert_eq!((file.apps[0].name.as_str(), file.apps[0].env.get("A").unwrap()), ("y", "1"));
    std::fs::write(&path, "apps:\n  - name: y\n    script: /bin/sleep\n    instnces: 5\n").unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains(":4:5") && error.contains("\"instances\""), "{error}");
}

#[test]
fn a_command_line_is_split_or_given_to_the_shell() {
    let app = one("{script:\"echo 'a b' c\", name: \"e\"}");
    let Program::Exec { script, args, .. } = &app.program else { panic!() };
    assert_eq!((script.as_str(), &args[..]), ("echo", &["a b".to_owned(), "c".to_owned()][..]));
    let app = one("{script:\"echo $HOME | cat\", name: \"e\"}");
    let Program::Exec { script, args, .. } = &app.program else { panic!() };
    assert_eq!((script.as_str(), &args[..]), ("/bin/sh", &["-c".to_owned(), "echo $HOME | cat".to_owned()][..]));
}

/// Apps that have every key between them.
const ALL: [&str; 5] = [
    "{name:\"a\",script:\"/bin/sleep\",args:\"1\",namespace:\"n\",inherit_env:[\"A\"],filter_env:[\"B_\"],instances:3,instance_var:\"I\",autostart:false,treekill:false,shutdown_with_message:true,listen_timeout:500,reload_step:2,nice:5,oom_score_adj:-10,umask:\"027\",limits:{memory:\"1G\",cpu_time:\"5s\",open_files:64,core:0},env:{X:1},env_production:{Y:2},pid_file:\"p.pid\"}",
    "{name:\"b\",script:\"/bin/sleep\",interpreter:[\"nice\",\"-n\",\"3\"],instances:-1,ready:{http:\"http://127.0.0.1:80/x\"},listen:[\"tcp://127.0.0.1:80\",{name:\"u\",address:\"unix://s.sock\"}],stop_signal:\"SIGTERM\",log_type:\"json\",time:true,max_log_size:false,max_log_age:\"1h\",max_log_files:2,compress_logs:false,log_file:\"all.log\"}",
    "{name:\"c\",pool:\"p\",entry:\"E\",params_each:[1,{\"a\":[null,1.5]},\"x\"],ready:{log:\"^up\"}}",
    "{name:\"d\",pool:\"p\",entry:\"E\",params:{\"k\":1},ready:{after:\"2s\"},inherit_env:false}",
    "{name:\"e\",script:\"echo a | cat\",ready:{tcp:\"localhost:81\"},user:\"nobody\",group:\"nogroup\",watch:true,ignore_watch:\"tmp\",watch_delay:100,stop_exit_codes:2,disable_logs:true}",
];

#[test]
fn the_canonical_text_reads_as_the_same_app() {
    let place = Place::new();
    for text in ALL {
        let mut app = place.parse(&format!("{{apps:[{text}]}}")).unwrap().apps.remove(0);
        for _ in 0..2 {
            let json = app.to_json();
            let (mut again, _) =
                parse_apps(&serde_json::json!({ "apps": [json] }).to_string(), Path::new("/"), &["p"]).unwrap();
            assert_eq!(again[0].to_json(), json, "{text}");
            assert!(again[0].differs(&app).is_empty());
            app = again.remove(0);
        }
    }
    let app = |text: &str| place.parse(&format!("{{apps:[{text}]}}")).unwrap().apps.remove(0);
    let changed = app(&ALL[0].replace("nice:5", "nice:6").replace("instances:3", "instances:4"));
    assert_eq!(changed.differs(&app(ALL[0])), ["instances", "nice"]);
    let pools = "{pools:[{name:\"p\",runtime:\"native\",command:[\"x\",\"y\"],idle:2,timeout:\"5m\",watch:[\"src\"],output:\"none\",entries:[\"a*\"],limits:{memory:\"1G\"}}]}";
    let pool = place.parse(pools).unwrap().pools.remove(0);
    let text = serde_json::json!({ "pools": [pool.to_json()] }).to_string();
    let (_, again) = parse_apps(&text, Path::new("/"), &[]).unwrap();
    assert_eq!(again, std::slice::from_ref(&pool));
    assert_eq!(default_pool(&again), Some(&pool));
}

#[test]
fn what_is_wrong_with_an_app_is_told_where_it_is() {
    let place = Place::new();
    for (keys, expected) in [
        ("script:\"/bin/sleep\",cron_restart:\"* * * * *\"", "cron_restart: schedules are not there yet"),
        ("script:\"/bin/sleep\",instances:\"many\"", "instances: expected a number from 1"),
        ("script:\"nowhere.php\",name:\"x\"", "script"),
        ("script:\"/bin/sleep\",stop_signal:\"SIGFOO\"", "stop_signal: expected a signal"),
        ("script:\"/bin/sleep\",ready:{tcp:\"80\"}", "expected IP:PORT or localhost:PORT"),
        ("script:\"/bin/sleep\",ready:{tcp:\"localhost:80\",notify:true}", "exactly one"),
        (
            "script:\"/bin/sleep\",ready:{log:\"(\"}",
            "apps[0].ready.log: expected a regular expression, found \"(\": unclosed group",
        ),
        ("script:\"/bin/sleep\",listen:\"http://x\"", "tcp://IP:PORT or unix://PATH"),
        ("script:\"/bin/sleep\",listen:\"tcp://web.internal:80\"", "0.0.0.0 or [::]"),
        ("script:\"/bin/sleep\",listen:\"tcp://:80\"", "0.0.0.0 or [::]"),
        ("script:\"/bin/sleep\",listen:\"tcp://localhost\"", "0.0.0.0 or [::]"),
        ("script:\"/bin/sleep\",ready:{http:\"http://web.internal/health\"}", "names are not looked up"),
        ("script:\"/bin/sleep\",umask:\"999\"", "umask: expected an octal mask"),
        ("script:\"/bin/sleep\",depends_on:[\"xx\"]", "f:1:40: apps[0].depends_on: \"xx\" is no app of this file"),
        (
            "script:\"/bin/sleep\",dependsOn:[\"sleep\"]",
            "f:1:39: apps[0].depends_on: depends_on goes in a circle: sleep → sleep",
        ),
        (
            "script:\"/bin/sleep\",exec:\"x\"",
            "apps[0].exec: key \"exec\" in line 1 is the same as \"script\" in line 1",
        ),
        ("script:\"/bin/sleep\",idle:4", "apps[0].idle: unknown key \"idle\": pools have it, apps have not"),
        ("pool:\"p\"", "entry: missing"),
        ("pool:\"p\",entry:\"E\",name:\"n\",params:1,args:[\"2\"]", "one of \"params\""),
        ("pool:\"p\",entry:\"E\",name:\"n\",user:\"nobody\"", "user: not with \"pool\""),
        ("script:\"/bin/sleep\",params:1", "params: expected only with \"pool\""),
        ("script:\"/bin/sleep\",args:\"'open\"", "quote is not closed"),
        ("name:\"x\"", "script: missing"),
    ] {
        let errors = place.errors(&format!("{{apps:[{{{keys}}}]}}"));
        assert!(errors.contains(expected), "{keys}: {errors}");
    }
    let twice = place.errors("{pools:[{name:\"x\",runtime:\"php\"}],\napps:[{name:\"x\",script:\"/bin/sleep\"}]}");
    assert!(twice.contains("f:2:") && twice.contains("used twice, first in line 1"), "{twice}");
    let unnamed = place.errors("[{script:\"/bin/sleep\"},{script:\"/bin/sleep\"}]");
    assert!(unnamed.contains("used twice"), "{unnamed}");
}

#[test]
fn a_name_that_is_nobodys_is_told_where_it_is_written() {
    let place = Place::new();
    let pool = "{pools:[{name:\"shop\",runtime:\"php\"}],apps:[\n{name:\"w\",entry:\"E\",pool:\"shp\"}]}";
    assert_eq!(place.errors(pool), "f:2:26: apps[0].pool: \"shp\" is no pool of this file; did you mean \"shop\"?");
    // Its own name is no help; one that is there and has a fault is there.
    let own =
        "[{script:\"/bin/sleep\",name:\"w\",nice:99},\n{script:\"/bin/sleep\",name:\"x\",depends_on:[\"w\",\"y\"]}]";
    let errors = place.errors(own);
    assert!(errors.ends_with("f:2:42: [1].depends_on: \"y\" is no app of this file; did you mean \"w\"?"), "{errors}");
    assert_eq!(errors.lines().count(), 2, "{errors}");
    // What pm2 calls null is not there.
    assert!(place.parse("[{script:\"/bin/sleep\",exec:null}]").is_ok());
}

#[test]
fn fault_29_ten_thousand_apps_are_read_and_their_faults_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let file = |count: u32, keys: &str| {
        let apps: Vec<String> = (0..count).map(|n| format!("{{name:\"a{n}\",script:\"/bin/sleep\"{keys}}}")).collect();
        format!("{{apps:[{}]}}", apps.join(",\n"))
    };
    let began = Instant::now();
    assert_eq!(parse(&file(10_000, ""), &path).unwrap().apps.len(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let keys = ",instnces:2,env:7,cwd:7,time:7,nice:\"x\",user:[],umask:9,watch:7,limits:7,ready:7,pid_file:7,listen:7";
    let errors = parse(&file(1_000, keys), &path).unwrap_err();
    assert_eq!(errors.0.len(), 10_001);
    assert!(errors.0.last().unwrap().message.contains("more errors"), "{}", errors.0.last().unwrap());
    // Half of it is nothing.
    let text = file(100, "");
    assert!(parse(&text[..text.len() / 2], &path).is_err());
}

#[test]
fn only_some_of_the_apps() {
    let mut file =
        Place::new().parse("[{name:\"a\",script:\"/bin/sleep\"},{name:\"b\",script:\"/bin/sleep\"}]").unwrap();
    assert!(file.only(&["bb".to_owned()]).unwrap_err().contains("\"b\""));
    file.only(&["b".to_owned()]).unwrap();
    assert_eq!(file.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!((file.apps[0].inherit_env.clone(), file.apps[0].logs.format), (Inherit::All, Format::Text));
    assert!(file.apps[0].listen.iter().all(|l| matches!(l.address, Address::Tcp(_))));
}
