//! Steps at which a test can have the process that takes them killed or stopped: the only way to make a fault come between two
//! particular system calls.
//!
//! `PREFORKD_FAULTS` names a folder. A file in it that bears a step's name holds the number of the signal that comes there, or
//! `hang`: the step never ends. It is removed before, so that the fault comes once. A program built without debug assertions has none of this.

/// This step is about to be taken, or has been, as its name says.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    let Some(folder) = std::env::var_os("PREFORKD_FAULTS") else { return };
    let file = std::path::Path::new(&folder).join(name);
    let Ok(signal) = std::fs::read_to_string(&file) else { return };
    if signal.trim() == "hang" && std::fs::remove_file(&file).is_ok() {
        loop {
            std::thread::park();
        }
    }
    let signal = signal.trim().parse().ok().and_then(|number: i32| nix::sys::signal::Signal::try_from(number).ok());
    if let (Some(signal), Ok(())) = (signal, std::fs::remove_file(&file)) {
        // To oneself, and of the signals there are: it cannot fail.
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), signal);
    }
}

/// Nothing happens.
#[cfg(not(debug_assertions))]
pub fn point(_name: &str) {}
