//! What words and options come to.

use super::*;
use crate::cli::terminal::Terminal;
use crate::processfile::Program;

fn context() -> (tempfile::TempDir, Context) {
    let folder = tempfile::tempdir().unwrap();
    let context = Context { dir: Some(folder.path().to_owned()), json: false, terminal: Terminal::PLAIN };
    (folder, context)
}

fn found(word: &str, options: &Options, args: &[&str]) -> Result<App, Error> {
    let (_folder, context) = context();
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    match find(word, options, &args, &context)? {
        Startable::App { app, .. } => Ok(*app),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_is_an_app_with_what_the_options_say() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("mail.py");
    std::fs::write(&script, "").unwrap();
    let options = Options { instances: Some("2".into()), max_memory_restart: Some("64M".into()), ..Options::default() };
    let app = found(&script.to_string_lossy(), &options, &["-v", "a b"]).unwrap();
    assert_eq!((app.name.as_str(), app.max_memory_restart), ("mail", Some(64 << 20)));
    let Program::Exec { args, interpreter, .. } = app.program else { panic!() };
    assert_eq!((args, interpreter), (vec!["-v".to_owned(), "a b".to_owned()], vec!["python3".to_owned()]));
}

#[test]
fn a_command_line_is_split_and_its_arguments_follow() {
    let options = Options { name: Some("q".into()), ..Options::default() };
    let app = found("php artisan queue:work", &options, &["--sleep", "3"]).unwrap();
    let Program::Exec { script, args, .. } = app.program else { panic!() };
    assert_eq!((app.name.as_str(), script.as_str()), ("q", "php"));
    assert_eq!(args, ["artisan", "queue:work", "--sleep", "3"]);
}

#[test]
fn an_entry_of_a_pool_needs_no_word() {
    let options = Options {
        name: Some("b".into()),
        pool: Some("billing".into()),
        entry: Some("E".into()),
        params: Some("{\"a\": 1}".into()),
        ..Options::default()
    };
    let app = found("", &options, &[]).unwrap();
    let Program::Pool { pool, params, .. } = app.program else { panic!() };
    assert_eq!((pool.as_str(), params.unwrap().get()), ("billing", "{\"a\":1}"));
    assert!(matches!(found("x.php", &options, &[]), Err(Error::Usage(_))));
    let nameless = found("", &Options { name: None, ..options }, &[]).unwrap_err();
    assert!(matches!(nameless, Error::Usage(_)) && nameless.to_string().contains("--name"), "{nameless}");
}

#[test]
fn what_is_not_found_says_what_was_looked_for() {
    let error = found("wbe", &Options::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("\"wbe\"") && error.contains("no such file") && error.contains("list"), "{error}");
}

#[test]
fn a_wrong_option_is_named_as_in_a_process_file() {
    let options = Options { max_memory_restart: Some("lots".into()), ..Options::default() };
    let error = found("sleep 100", &options, &[]).unwrap_err();
    assert!(matches!(error, Error::Usage(_)) && error.to_string().contains("max_memory_restart"), "{error}");
}

#[test]
fn options_of_an_app_are_not_for_process_files() {
    let options = Options { watch: true, ..Options::default() };
    let error = found("apps.json", &options, &[]).unwrap_err();
    assert!(error.to_string().contains("apps.json"), "{error}");
}
