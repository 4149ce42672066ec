//! A program's log files: where its streams go, and how the files are kept.

use serde_json::Value;

use super::app::Asked;
use super::kinds;
use super::program::{Process, Sink, without_number};
use super::section::Values;
use super::written::Draft;

/// How its log files are kept.
pub(super) struct Rotation {
    size: u64,
    backups: i64,
    together: bool,
}

pub(super) fn logs(values: &mut Values, first: &Process) -> Rotation {
    let expected = "a size such as 50MB";
    let together = values.flag("redirect_stderr", false);
    let mut of = |stream: &str| {
        let size = values.read(&format!("{stream}_logfile_maxbytes"), expected, kinds::bytes).unwrap_or(50 << 20);
        (size, values.number(&format!("{stream}_logfile_backups"), 10).clamp(0, 1000))
    };
    let (out, error) = (of("stdout"), of("stderr"));
    let (size, backups) = if first.out == Sink::Off && !together { error } else { out };
    if !together && first.out != Sink::Off && first.error != Sink::Off && out != error {
        let key = if out.0 == error.0 { "stderr_logfile_backups" } else { "stderr_logfile_maxbytes" };
        values.say(key, "size and number of log files count for both streams: those of stdout were taken");
    }
    for stream in ["stdout", "stderr"] {
        let file = format!("{stream}_logfile");
        let to_syslog = values.flag(&format!("{stream}_syslog"), false);
        if to_syslog || values.text(&file).is_some_and(|path| path.to_lowercase() == "syslog") {
            let key = if to_syslog { format!("{stream}_syslog") } else { file };
            values.say(&key, "nothing is sent to syslog; for the journal, pipe `preforkd logs -f NAME` to systemd-cat");
        }
        if values.flag(&format!("{stream}_events_enabled"), false) {
            values.say(
                &format!("{stream}_events_enabled"),
                "programs that want the output ask for it: `apps.logs` with `follow`",
            );
        }
        let capture = format!("{stream}_capture_maxbytes");
        if values.read(&capture, expected, kinds::bytes).unwrap_or(0) > 0 {
            values.say(&capture, "there is no capture mode; the tags stay in the output");
        }
    }
    Rotation { size, backups, together }
}

impl Rotation {
    pub fn put(&self, draft: &mut Draft, values: &mut Values, (out, error): (&Sink, &Sink), merged: bool) {
        let sink = |sink: &Sink| match sink {
            Sink::Auto => None,
            Sink::Off => Some(Value::Bool(false)),
            Sink::File(path) => Some(Value::from(path.clone())),
        };
        draft.some("out_file", sink(out));
        if self.together {
            draft.some("error_file", sink(out));
            if *out == Sink::Auto && values.tells {
                values.say("redirect_stderr", "files that are named by the daemon are one a stream; give stdout_logfile a path to have both in one");
            }
        } else {
            draft.some("error_file", sink(error));
        }
        draft.put_if(merged, "merge_logs", true);
        if *out == Sink::Off && (self.together || *error == Sink::Off) {
            return;
        }
        match self.size {
            0 => draft.put("max_log_size", false),
            size => draft.put("max_log_size", readable(size.max(4096))),
        }
        // Without a limit of size nothing is ever rotated.
        draft.put_if(self.size > 0, "max_log_files", self.backups);
    }
}

/// The log files of a program with several processes: one for all, or one each that goes by the instance's number.
pub(super) fn shared(values: &mut Values, processes: &[Process], asked: &Asked) -> (Sink, Sink, bool) {
    let mut numbered = false;
    let mut of = |key: &str, sinks: Vec<&Sink>| {
        if sinks.windows(2).all(|pair| pair[0] == pair[1]) {
            return (*sinks[0]).clone();
        }
        numbered = true;
        let sink = without_number(values, key, asked.program, asked.shared);
        if let Sink::File(path) = &sink {
            let short = path.rsplit('/').next().unwrap_or(path);
            values.say(key, format!("instance 0 writes {short}, instance N has -N before its extension"));
        }
        sink
    };
    let out = of("stdout_logfile", processes.iter().map(|process| &process.out).collect());
    let error = of("stderr_logfile", processes.iter().map(|process| &process.error).collect());
    let files = [&out, &error].into_iter().any(|sink| matches!(sink, Sink::File(path) if !path.starts_with("/dev/")));
    (out, error, files && !numbered)
}

/// `50M` for 52428800.
pub(super) fn readable(bytes: u64) -> Value {
    for (shift, letter) in [(30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{letter}", bytes >> shift).into();
        }
    }
    bytes.into()
}
