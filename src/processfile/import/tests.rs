//! Whole files, from their text to the apps of the result.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Around, Imported, import};
use crate::processfile::{Address, App, Inherit, Instances, Program, Sink, parse_apps};

/// Imports the files, the first of which is the one that is named.
fn imported(files: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Imported, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("@HERE@", &folder.path().to_string_lossy())).unwrap();
    }
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let path = folder.path().join(files[0].0);
    let mut result = import(&path, &Around { env: &env, host: "box" })?;
    let here = folder.path().to_string_lossy();
    result.text = result.text.replace(&*here, "/here");
    for remark in &mut result.remarks {
        *remark = remark.replace(&*here, "/here");
    }
    Ok(result)
}

fn read(result: &Imported) -> Vec<App> {
    parse_apps(&result.text, Path::new("/file"), &[]).unwrap_or_else(|e| panic!("{e}\n{}", result.text)).0
}

/// The apps of a supervisord.conf of these sections, and what was said.
fn supervisord(sections: &str) -> (Vec<App>, Vec<String>) {
    let text = format!("[supervisord]\n{sections}");
    let result = imported(&[("s.conf", &text)], &[("HOME", "/home/u"), ("DB", "pg")]).unwrap();
    assert_eq!(result.apps, read(&result).len());
    (read(&result), result.remarks)
}

fn one(program: &str) -> (App, Vec<String>) {
    let (mut apps, remarks) = supervisord(&format!("[program:x]\n{program}"));
    assert_eq!(apps.len(), 1);
    (apps.remove(0), remarks)
}

fn words(app: &App) -> Vec<&str> {
    let Program::Exec { script, args, interpreter } = &app.program else { panic!("{} is of a pool", app.name) };
    interpreter.iter().chain([script]).chain(args).map(String::as_str).collect()
}

fn names(apps: &[App]) -> Vec<&str> {
    apps.iter().map(|app| app.name.as_str()).collect()
}

fn has(remarks: &[String], part: &str) -> bool {
    remarks.iter().any(|remark| remark.contains(part))
}

#[test]
fn the_least_program_keeps_supervisords_defaults() {
    let (app, remarks) = one("command=/bin/cat");
    assert_eq!(words(&app), ["/bin/cat"]);
    assert_eq!((app.name.as_str(), app.stop_signal, app.kill_timeout.as_secs()), ("x", 15, 10));
    assert_eq!((app.autostart, app.autorestart, app.stop_exit_codes.as_slice()), (true, true, &[0][..]));
    assert_eq!((app.min_uptime.as_secs(), app.treekill, app.instances), (1, false, Instances::Fixed(1)));
    assert_eq!((app.logs.max_size, app.logs.max_files), (Some(50 << 20), 10));
    assert_eq!(app.logs.out, Sink::Default);
    assert_eq!(remarks, [""; 0]);
}

#[test]
fn a_command_is_executed_as_it_is() {
    for (command, expected) in [
        ("/a/b.py -x 'y z'", &["/a/b.py", "-x", "y z"][..]),
        ("\"/a/with space\" 1", &["/a/with space", "1"]),
        ("job.py", &["/usr/bin/env", "job.py"]),
        ("php8.2 artisan queue:work", &["php8.2", "artisan", "queue:work"]),
        (
            "echo %(program_name)s %(group_name)s %(host_node_name)s %(ENV_DB)s 100%%",
            &["echo", "x", "x", "box", "pg", "100%"],
        ),
    ] {
        assert_eq!(words(&one(&format!("command={command}")).0), expected);
    }
    assert!(has(&one("command=echo %(ENV_DB)s").1, "s.conf:3: %(ENV_DB)s became"));
    let (app, remarks) = one("command=echo %(ENV_NO)s");
    assert_eq!(words(&app), ["echo", "%(ENV_NO)s"]);
    assert!(has(&remarks, "[program:x] command: %(ENV_NO)s: NO is not set"), "{remarks:?}");
}

#[test]
fn every_key_of_a_program_has_its_place() {
    let (app, remarks) =
        one("command=/bin/cat\ndirectory=~/app\numask=027\nautostart=false\nautorestart=unexpected\nexitcodes=0,3\n\
         startsecs=7\nstopsignal=usr2\nstopwaitsecs=20\nstopasgroup=true\nuser=www-data\nredirect_stderr=true\n\
         stdout_logfile=~/x.log\nstdout_logfile_maxbytes=0\nenvironment=A=\"1\",B=\"%(ENV_DB)s\"");
    assert_eq!((app.cwd.to_str(), app.umask, app.user.as_deref()), (Some("/home/u/app"), Some(0o27), Some("www-data")));
    assert_eq!((app.autostart, app.stop_exit_codes.as_slice(), app.min_uptime.as_secs()), (false, &[0, 3][..], 7));
    assert_eq!((app.stop_signal, app.kill_timeout.as_secs(), app.treekill), (12, 20, true));
    assert_eq!(
        (&app.logs.out, &app.logs.error),
        (&Sink::File("/home/u/x.log".into()), &Sink::File("/home/u/x.log".into()))
    );
    assert_eq!((app.logs.max_size, app.env.get("A").unwrap(), app.env.get("B").unwrap()), (None, "1", "pg"));
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    let (app, _) = one(
        "command=/bin/cat\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=/dev/fd/2\nstderr_logfile_maxbytes=1MB",
    );
    assert_eq!((app.autorestart, app.stop_exit_codes.len()), (true, 0));
    assert_eq!((&app.logs.out, &app.logs.error), (&Sink::Off, &Sink::File("/dev/stderr".into())));
    assert_eq!(app.logs.max_size, Some(1 << 20));
    assert!(!one("command=/bin/cat\nautorestart=no").0.autorestart);
}

#[test]
fn tries_last_as_long_as_they_did() {
    assert_eq!(one("command=/bin/cat").0.max_restarts, 16);
    assert_eq!(one("command=/bin/cat\nstartretries=0").0.max_restarts, 1);
    for retries in [1, 3, 20, 500] {
        let most = one(&format!("command=/bin/cat\nstartretries={retries}")).0.max_restarts;
        let pauses = (0..).map(|n| f64::min(0.1 * 1.5f64.powi(n), 15.0)).take(most as usize - 2);
        let time: f64 = pauses.sum();
        let before = f64::from(retries) * f64::from(retries + 1) / 2.0;
        assert!(most > retries && (time >= before || most == retries + 1), "{retries}: {most}");
        assert!(time < before + 16.0 || most == retries + 1, "{retries}: {most} is too many");
    }
}

#[test]
fn alike_processes_are_instances() {
    let many = "command=/bin/cat\nnumprocs=3\nprocess_name=%(program_name)s_%(process_num)02d\n";
    let (app, remarks) =
        one(&format!("{many}stdout_logfile=/l/x_%(process_num)02d.log\nstderr_logfile=/l/%(process_num)d/e.log"));
    assert_eq!((app.instances, app.logs.merge), (Instances::Fixed(3), false));
    assert_eq!(app.logs.out, Sink::File("/l/x.log".into()));
    assert_eq!(app.logs.error, Sink::File("/l/e.log".into()));
    assert!(has(&remarks, "[program:x] stdout_logfile: instance 0 writes x.log"), "{remarks:?}");
    let (app, _) = one(&format!("{many}stdout_logfile=/l/x.log\nstderr_logfile=/l/x.log"));
    assert!(app.logs.merge);
    let (app, _) = one(&format!("{many}numprocs_start=5\nenvironment=PORT=\"80%(process_num)02d\",X=\"1\""));
    assert_eq!((app.increment_var.as_deref(), app.env.get("PORT").unwrap()), (Some("PORT"), "8005"));
}

#[test]
fn processes_that_differ_are_apps_of_their_own() {
    let many = "numprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\n";
    for different in [
        "command=/bin/cat %(process_num)d",
        "command=/bin/cat\ndirectory=/srv/%(process_num)d",
        "command=/bin/cat\nenvironment=A=\"%(process_num)d\",B=\"%(process_num)d\"",
        "command=/bin/cat\nenvironment=A=\"%(process_num)02d\"",
    ] {
        let (apps, remarks) = supervisord(&format!("[program:x]\n{many}{different}"));
        assert_eq!(names(&apps), ["x_00", "x_01"], "{different}");
        assert!(apps.iter().all(|app| &*app.namespace == "x" && app.instances == Instances::Fixed(1)));
        assert!(has(&remarks, "[program:x] numprocs: "), "{remarks:?}");
    }
}

#[test]
fn groups_are_namespaces_and_priority_is_the_order() {
    let (apps, remarks) = supervisord(
        "[program:late]\ncommand=a\npriority=1000\n[program:b]\ncommand=b\n[program:a]\ncommand=a\n\
         [program:z]\ncommand=z\n[group:first]\nprograms=z, b,nobody\npriority=1\n[group:again]\nprograms=b\n",
    );
    assert_eq!(names(&apps), ["b", "z", "a", "again-b", "late"]);
    let namespaces: Vec<&str> = apps.iter().map(|app| &*app.namespace).collect();
    assert_eq!(namespaces, ["first", "first", "default", "again", "default"]);
    assert!(has(&remarks, "[group:first] programs: there is no [program:nobody]"), "{remarks:?}");
    assert!(has(&remarks, "[program:late] priority: "), "{remarks:?}");
}

#[test]
fn a_fastcgi_program_gets_its_socket_where_it_looks_for_it() {
    let (apps, remarks) =
        supervisord("[fcgi-program:php]\ncommand=php-cgi -b\nsocket=tcp://127.0.0.1:9000\nsocket_mode=0700\n");
    assert_eq!(apps[0].listen[0].address, Address::Tcp("127.0.0.1:9000".to_owned()));
    assert_eq!(words(&apps[0]), ["/bin/sh", "-c", "exec \"$@\" <&3 3<&-", "sh", "php-cgi", "-b"]);
    assert!(has(&remarks, "socket_mode") && has(&remarks, "fd 0"), "{remarks:?}");
    let (apps, remarks) = supervisord("[fcgi-program:php]\ncommand=php-cgi\nsocket=tcp://php.internal:9000\n");
    assert!(apps[0].listen.is_empty() && has(&remarks, "not looked up"), "{remarks:?}");
}

#[test]
fn what_the_daemon_says_counts_for_its_programs() {
    let (apps, remarks) = supervisord(
        "umask=077\ndirectory=/srv\nminfds=9000\nenvironment=A=\"1\",B=\"2\"\nloglevel=debug\n\
         [program:x]\ncommand=./run %(ENV_A)s\nenvironment=B=\"3\"\nstdout_logfile=out.log\n",
    );
    let app = &apps[0];
    assert_eq!(
        (app.umask, app.cwd.to_str(), app.limits.as_ref().unwrap().open_files),
        (Some(0o77), Some("/srv"), Some(9000))
    );
    assert_eq!((app.env.get("A").unwrap(), app.env.get("B").unwrap()), ("1", "3"));
    assert_eq!(app.logs.out, Sink::File("/srv/out.log".into()));
    assert_eq!(words(app), ["/srv/run", "1"]);
    assert!(has(&remarks, "s.conf:6: [supervisord] loglevel"), "{remarks:?}");
}

#[test]
fn what_has_no_equivalent_is_said_once_with_its_line() {
    let (_, remarks) = supervisord(
        "[unix_http_server]\nfile=/x\n[eventlistener:e]\ncommand=x\n[my:thing]\n[program:x]\ncommand=a\n\
         serverurl=http://x\nstdout_syslog=true\nstderr_capture_maxbytes=1MB\nstdout_events_enabled=true\nsartsecs=3\n\
         stopsignal=NOPE\nkillasgroup=true\n",
    );
    for part in [
        "s.conf:2: [unix_http_server]: ",
        "s.conf:4: [eventlistener:e]: ",
        "s.conf:6: [my:thing]: ",
        "s.conf:9: [program:x] serverurl: ",
        "s.conf:10: [program:x] stdout_syslog: ",
        "s.conf:11: [program:x] stderr_capture_maxbytes: ",
        "s.conf:12: [program:x] stdout_events_enabled: ",
        "s.conf:13: [program:x] sartsecs: supervisord has no such key; was startsecs meant?",
        "s.conf:14: [program:x] stopsignal: expected a signal",
        "s.conf:15: [program:x] killasgroup: ",
    ] {
        assert_eq!(remarks.iter().filter(|remark| remark.contains(part)).count(), 1, "{part}: {remarks:?}");
    }
    assert_eq!(remarks.len(), 10, "{remarks:?}");
    // What is the default anyway is no difference.
    let (_, remarks) =
        one("command=a\nserverurl=AUTO\nstdout_syslog=false\nstdout_events_enabled=0\nstderr_capture_maxbytes=0");
    assert_eq!(remarks, [""; 0]);
}

#[test]
fn included_files_count_from_their_own_folder() {
    let files = [
        (
            "etc/s.conf",
            "[supervisord]\n[include]\nfiles = conf.d/*.conf\n  none/*.conf\n[program:a]\ncommand=%(here)s/a\n",
        ),
        ("etc/conf.d/2.conf", "[program:b]\ncommand=%(here)s/b\n[include]\nfiles=../other/*.conf\n"),
        ("etc/conf.d/1.conf", "[program:c]\nstpo=1\ncommand=c\n"),
        ("etc/other/x.conf", "[program:never]\ncommand=x\n"),
    ];
    let result = imported(&files, &[]).unwrap();
    let apps = read(&result);
    assert_eq!(names(&apps), ["a", "b", "c"]);
    assert_eq!((words(&apps[0]), words(&apps[1])), (vec!["/here/etc/a"], vec!["/here/etc/conf.d/b"]));
    assert!(has(&result.remarks, "/here/etc/conf.d/1.conf:2: [program:c] stpo"), "{:?}", result.remarks);
    assert!(has(&result.remarks, "no file is called none/*.conf"), "{:?}", result.remarks);
}

#[test]
fn names_that_an_app_cannot_have_are_changed_and_said() {
    let (apps, remarks) = supervisord("[program:caf\u{e9}]\ncommand=a\n[program:caf-]\ncommand=a\n");
    assert_eq!(names(&apps).len(), 2);
    assert!(has(&remarks, "is called"), "{remarks:?}");
}

#[test]
fn a_program_without_a_command_is_left_out_and_the_others_stay() {
    let (apps, remarks) = supervisord("[program:x]\nnumprocs=2\n[program:y]\ncommand='a\n[program:z]\ncommand=z\n");
    assert_eq!(names(&apps), ["z"]);
    assert!(
        has(&remarks, "[program:x]: there is no command") && has(&remarks, "[program:y] command: a quote"),
        "{remarks:?}"
    );
}

#[test]
fn nothing_usable_is_an_error_that_says_what_the_file_is() {
    for (text, why) in [
        ("", "expected a supervisord.conf"),
        ("hello", "expected a supervisord.conf"),
        ("[supervisord]\nnodaemon=true\n", "no program"),
        ("[program:x]\n", "there is no command"),
        ("{\"apps\": [{\"script\": \"a\"}]}", "`preforkd start`"),
        ("[{\"script\": \"a\"}]", "`preforkd start`"),
        ("module.exports = {apps: []}", "`preforkd start`"),
        ("[]", "without a process"),
        ("[ {\"pm_exec_path\": ", "line 1"),
    ] {
        let error = imported(&[("f", text)], &[]).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

const DUMP: &str = include_str!("../../../tests/data/pm2/dump.pm2");

#[test]
fn a_dump_of_pm2s_becomes_its_apps_again() {
    let env = [("USER", "shop"), ("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("HOME", "/home/shop")];
    let result = imported(&[("dump.pm2", DUMP)], &env).unwrap();
    let apps = read(&result);
    assert_eq!(names(&apps), ["api", "queue-worker", "mailer", "report"]);
    let [api, worker, mailer, report] = apps.as_slice() else { panic!() };
    assert_eq!(words(api), ["node", "--max-old-space-size=256", "/here/app/api.js"]);
    assert_eq!((api.instances, api.increment_var.as_deref()), (Instances::Fixed(3), Some("PORT")));
    assert_eq!((api.env.get("PORT").unwrap(), api.env.get("GREETING").unwrap()), ("3000", "Jó napot"));
    assert_eq!(api.env_named["production"]["NODE_ENV"], "production");
    assert_eq!((api.kill_timeout.as_millis(), api.listen_timeout.as_millis()), (5000, 8000));
    assert_eq!((api.max_memory_restart, api.cwd.to_str()), (Some(300 << 20), Some("/here/app")));
    assert_eq!(
        (words(worker), &*worker.namespace),
        (vec!["python3", "/here/app/worker.py", "--queue", "mails and invoices"], "batch")
    );
    assert_eq!(worker.logs.out, Sink::File("/here/logs/worker.log".into()));
    assert_eq!((worker.logs.out.clone(), worker.stop_exit_codes.as_slice()), (worker.logs.error.clone(), &[0][..]));
    assert!(worker.watch.is_some() && worker.exp_backoff_restart_delay.is_some());
    assert_eq!((mailer.instances, mailer.autostart), (Instances::Fixed(2), false));
    assert_eq!(
        (words(mailer), &mailer.logs.out),
        (vec!["/usr/bin/bash", "-c", "sleep 1000"], &Sink::File("/here/logs/mailer.log".into()))
    );
    assert!(!report.autorestart && report.inherit_env == Inherit::All);
    // Of the environment: what differs, and is not of the login or of pm2.
    let kept: Vec<&str> = mailer.env.iter().map(|(name, _)| name).collect();
    assert_eq!(kept, ["EDITOR", "LANG", "LOGNAME", "SHELL"]);
    for part in ["[report] cron_restart: ", "[api] exec_mode: ", "[queue worker] name: ", "[mailer] env: ", "DIR/logs"]
    {
        assert!(has(&result.remarks, part), "{part}: {:?}", result.remarks);
    }
    assert!(
        !has(&result.remarks, "192.0.2.1") && !result.text.contains("192.0.2.1"),
        "values are told nowhere but in env"
    );
}

#[test]
fn processes_of_a_dump_that_differ_are_apps_of_their_own() {
    let process = |script: &str, status: &str| {
        format!(
            r#"{{"name": "w", "pm_exec_path": "{script}", "exec_interpreter": "none", "status": "{status}", "env": {{}}}}"#
        )
    };
    let dump = format!("[{}, {}, {}, 5]", process("/a", "online"), process("/b", "errored"), process("/a", "stopped"));
    let result = imported(&[("d", &dump)], &[]).unwrap();
    let apps = read(&result);
    assert_eq!(names(&apps), ["w", "w-2"]);
    assert_eq!((apps[0].instances, apps[0].autostart), (Instances::Fixed(2), true));
    for part in ["1 of 2 were stopped", "was errored", "was left out"] {
        assert!(has(&result.remarks, part), "{part}: {:?}", result.remarks);
    }
}

#[test]
fn what_the_rules_refuse_in_the_result_is_said() {
    let dump = r#"[{"name": "a", "pm_exec_path": "/a", "max_memory_restart": 5, "env": {}}]"#;
    let result = imported(&[("d", dump)], &[]).unwrap();
    assert!(has(&result.remarks, "the result:") && has(&result.remarks, "max_memory_restart"), "{:?}", result.remarks);
}
