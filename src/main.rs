//! Wiring only: arguments in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use preforkd::cli::{self, Error};

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // fails where the reader has left (`| head`)
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let json = cli.wants_json();
    match cli.execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error, json);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn report(error: &Error, json: bool) {
    if let Some(document) = error.to_json() {
        cli::message(&error.to_string());
        if json {
            let _ = writeln!(std::io::stdout(), "{document}");
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::ReaderGone => 0,
        error if error.is_usage() => 2,
        Error::NoDaemon { .. } => 3,
        Error::Interrupted(_) => 130,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_exit_code() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(exit_code(&Error::NoDaemon { socket: "/s".into(), source }), 3);
        assert_eq!(exit_code(&Error::Usage(String::new())), 2);
        assert_eq!(exit_code(&Error::Failed(String::new())), 1);
        assert_eq!(exit_code(&Error::Reported), 1);
        assert_eq!(exit_code(&Error::Interrupted(String::new())), 130);
        assert_eq!(exit_code(&Error::ReaderGone), 0);
    }
}
