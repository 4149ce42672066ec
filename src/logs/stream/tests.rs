use super::*;
use crate::sys::stage::Stage;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const T: u64 = 1_700_000_000_000_000_000;

struct Bench {
    folder: tempfile::TempDir,
    files: Files,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap(), files: Files::default() }
    }

    fn file(&self, name: &str) -> FileConfig {
        let path = self.folder.path().join(name);
        FileConfig {
            path: path.into(),
            identity: None,
            max_size: None,
            max_age: None,
            max_files: 5,
            compress: true,
            json: false,
        }
    }

    fn config(&self, kind: Kind, files: &[&str]) -> StreamConfig {
        let files = files.iter().map(|name| self.file(name)).collect();
        StreamConfig {
            name: "app".into(),
            namespace: None,
            worker: Some(3),
            kind,
            format: Format::Text,
            date: None,
            files,
            recent: false,
        }
    }

    fn open(&mut self, config: &StreamConfig) -> Stream {
        Stream::open(config, &mut self.files).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(Path::new(self.folder.path()).join(name)).unwrap()
    }
}

fn push(stream: &mut Stream, chunks: &[&str]) {
    let mut scratch = Vec::new();
    for chunk in chunks {
        stream.push(chunk.as_bytes(), T, &mut scratch);
        assert!(scratch.is_empty());
    }
}

#[test]
fn bytes_go_straight_through_at_once() {
    let mut bench = Bench::new();
    let mut stream = bench.open(&bench.config(Kind::Out, &["l"]));
    stream.push(b"a\xff\0 prompt> ", T, &mut Vec::new());
    assert!(!stream.holds());
    assert_eq!(fs::read(bench.folder.path().join("l")).unwrap(), b"a\xff\0 prompt> ");
    stream.end(T, &mut Vec::new());
    push(&mut stream, &["next\n"]);
    assert!(fs::read(bench.folder.path().join("l")).unwrap().ends_with(b"prompt> \nnext\n"));
}

#[test]
fn dates_stand_at_the_start_of_real_lines_alone() {
    let mut bench = Bench::new();
    let config = StreamConfig { date: Some("%Y".into()), ..bench.config(Kind::Out, &["l"]) };
    let mut stream = bench.open(&config);
    push(&mut stream, &["one\ntw", "o", " still\n", "\n"]);
    let long = "x".repeat(200_000);
    push(&mut stream, &[&long, &long, "\nend"]);
    stream.end(T, &mut Vec::new());
    push(&mut stream, &["other\n"]);
    let expected = format!("2023: one\n2023: two still\n2023: \n2023: {long}{long}\n2023: end\n2023: other\n");
    assert!(bench.text("l") == expected);
}

#[test]
fn json_is_one_object_a_line_also_for_long_and_unfinished_ones() {
    let mut bench = Bench::new();
    let config = StreamConfig { format: Format::Json, ..bench.config(Kind::Err, &["l"]) };
    let mut stream = bench.open(&config);
    push(&mut stream, &["a \"quo", "te\"\n", &"y".repeat(40_000), "\nopen"]);
    assert!(stream.holds());
    stream.push(b"\xff", T, &mut Vec::new());
    stream.end(T, &mut Vec::new());
    let text = bench.text("l");
    let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = serde_json::json!({"timestamp": "2023-11-14T22:13:20.000000Z", "type": "err", "app_name": "app", "process_id": 3, "message": "a \"quote\""});
    assert_eq!(objects[0], expected);
    let partial: Vec<bool> = objects.iter().map(|o| o["partial"] == true).collect();
    assert_eq!(partial, [false, true, true, false, true]);
    let long: String = objects[1..4].iter().map(|o| o["message"].as_str().unwrap()).collect();
    assert_eq!((long.len(), objects[4]["message"].as_str()), (40_000, Some("open\u{fffd}")));
}

#[test]
fn streams_that_share_a_file_do_not_cut_each_others_lines() {
    let mut bench = Bench::new();
    let mut out = bench.open(&bench.config(Kind::Out, &["out", "both"]));
    let mut err = bench.open(&bench.config(Kind::Err, &["err", "both"]));
    push(&mut out, &["out 1\nout", " 2"]);
    push(&mut err, &["err 1\n"]);
    push(&mut out, &["\n"]);
    assert_eq!(bench.text("both"), "out 1\nerr 1\nout 2\n");
    assert_eq!((bench.text("out"), bench.text("err")), ("out 1\nout 2\n".into(), "err 1\n".into()));
    push(&mut out, &["prompt> "]);
    assert!(out.holds());
    out.flush(T, &mut Vec::new());
    push(&mut err, &["err 2\n"]);
    assert_eq!(bench.text("both"), "out 1\nerr 1\nout 2\nprompt> \nerr 2\n");
}

#[test]
fn another_form_begins_with_what_comes_next() {
    let mut bench = Bench::new();
    let mut config = bench.config(Kind::Out, &["l"]);
    let mut stream = bench.open(&config);
    push(&mut stream, &["one\n"]);
    config.date = Some("%Y".into());
    config.files = vec![bench.file("m")];
    stream.configure(&config, &mut bench.files).unwrap();
    push(&mut stream, &["two\n"]);
    assert_eq!((bench.text("l"), bench.text("m")), ("one\n".into(), "2023: two\n".into()));
    config.files = vec![FileConfig { path: Path::new("/nowhere/at/all").into(), ..bench.file("m") }];
    assert!(stream.configure(&config, &mut bench.files).is_err());
    push(&mut stream, &["three\n"]);
    assert!(bench.text("m").ends_with("three\n"));
}

#[test]
fn who_watches_gets_lines_and_the_last_ones_are_kept() {
    let mut bench = Bench::new();
    let config = StreamConfig { recent: true, ..bench.config(Kind::Err, &[]) };
    let mut stream = bench.open(&config);
    let mut seen: Vec<String> = Vec::new();
    stream.watched(b"before\n", |_| panic!("nobody watches"));
    stream.watch(true);
    for chunk in [&b"one\ntw"[..], b"o\nth"] {
        stream.push(chunk, T, &mut Vec::new());
        stream.watched(chunk, |line| seen.push(String::from_utf8_lossy(line).into_owned()));
    }
    stream.watched_end(|line| seen.push(String::from_utf8_lossy(line).into_owned()));
    assert_eq!(seen, ["one", "two", "th"]);
    assert_eq!(stream.recent(), ["one", "two", "th"]);
}

/// What a master that is killed in a step leaves of it, with so much of the output in each file.
#[test]
fn a_step_that_another_master_had_begun_is_finished_where_it_was() {
    let bench = Bench::new();
    let text = b"a\nline two\nand the begun";
    for (form, date) in [(Format::Text, None), (Format::Text, Some("%Y")), (Format::Json, None)] {
        let memory = crate::sys::memfd::growing("t").unwrap();
        let stage = || Stage::open(memory.try_clone().unwrap()).unwrap();
        let config =
            StreamConfig { format: form, date: date.map(str::to_owned), ..bench.config(Kind::Out, &["one", "two"]) };
        let paths = ["one", "two"].map(|name| bench.folder.path().join(name));
        let before = "before\n";
        let begin = || paths.iter().for_each(|path| fs::write(path, before).unwrap());
        // As it is when nobody is killed.
        begin();
        let mut first = stage();
        let (reading, mut writing) = io::pipe().unwrap();
        io::Write::write_all(&mut writing, text).unwrap();
        first.read(reading.as_fd(), "log/a/0/out", 1_700_000_000_000_000_000).unwrap();
        let mut stream = Stream::open(&config, &mut Files::marked(first.marks().clone())).unwrap();
        stream.push(text, T, &mut Vec::new());
        let whole = fs::read(&paths[0]).unwrap();
        let held = stream.begun();
        let out = whole.len() - before.len();
        assert!(out > 10);
        // The latest write was to the second file; with another one it would have been to the first.
        let in_second = stage().left().unwrap();
        assert_eq!((in_second.write.file, in_second.write.length), (1, out as u64));
        for (file, cut) in (0..2).flat_map(|file| (0..=out).map(move |cut| (file, cut))) {
            let mut left = stage().left().unwrap();
            left.write.file = file as u64;
            let done = [&whole[..], &whole[..before.len()]];
            for (at, path) in paths.iter().enumerate() {
                let there = if at == file { &whole[..before.len() + cut] } else { done[usize::from(at > file)] };
                let opened = fs::File::options().write(true).open(path).unwrap();
                opened.set_len(0).unwrap();
                io::Write::write_all(&mut &opened, there).unwrap();
            }
            left.write.inode = fs::metadata(&paths[file]).unwrap().ino();
            let mut next = Stream::open(&config, &mut Files::default()).unwrap();
            next.skip(&left.write, false);
            next.push(&left.bytes, left.wall, &mut Vec::new());
            for path in &paths {
                assert_eq!(fs::read(path).unwrap(), whole, "{form:?} {file} {cut}");
            }
            assert_eq!(next.begun(), held);
        }
        // The file was rotated when its part was in it.
        let mut left = stage().left().unwrap();
        fs::rename(&paths[1], bench.folder.path().join("aside")).unwrap();
        left.write.length -= 4;
        let mut next = Stream::open(&config, &mut Files::default()).unwrap();
        next.skip(&left.write, false);
        next.push(&left.bytes, left.wall, &mut Vec::new());
        assert_eq!(fs::read(&paths[1]).unwrap(), &whole[whole.len() - 4..]);
        // All was written, and only that was not said.
        begin();
        let mut next = Stream::open(&config, &mut Files::default()).unwrap();
        next.skip(&left.write, true);
        next.push(&left.bytes, left.wall, &mut Vec::new());
        assert_eq!(fs::read(&paths[0]).unwrap(), before.as_bytes());
        assert_eq!(next.begun(), held);
        // Only that one step.
        next.push(b"!\n", T, &mut Vec::new());
        assert!(fs::read_to_string(&paths[1]).unwrap().contains('!'));
    }
}

#[test]
fn the_beginning_of_a_line_is_text_in_the_journal_if_it_is_one() {
    for (held, json) in [(&b"a \"b"[..], r#""a \"b""#), (b"", "\"\""), (b"\xff\0", "[255,0]")] {
        let begun = Begun { held: held.to_vec(), mid_line: true };
        let text = serde_json::to_string(&begun).unwrap();
        assert_eq!(text, format!("{{\"held\":{json},\"mid_line\":true}}"));
        assert_eq!(serde_json::from_str::<Begun>(&text).unwrap(), begun);
    }
}
