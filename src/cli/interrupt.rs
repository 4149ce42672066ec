//! Ctrl-C while waiting for a run: the wait ends, the run does not.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Error;

/// Turns SIGINT into the end of the connection that is being read.
#[derive(Debug, Clone)]
pub struct Interrupt {
    run: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    hit: AtomicBool,
    current: Mutex<Option<UnixStream>>,
}

impl Interrupt {
    /// Takes SIGINT over for the rest of the process. `run` is the id to speak of.
    pub fn install(run: &str) -> Result<Interrupt, Error> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        ctrlc::set_handler(move || seen.interrupt())
            .map_err(|error| Error::Failed(format!("cannot catch Ctrl-C: {error}")))?;
        Ok(Interrupt { run: run.to_owned(), shared })
    }

    /// The connection that Ctrl-C has to end from now on.
    pub fn watch(&self, stream: &UnixStream) -> Result<(), Error> {
        let stream =
            stream.try_clone().map_err(|error| Error::Failed(format!("cannot duplicate the connection: {error}")))?;
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        // Ctrl-C may have come while there was no connection to end.
        self.check()
    }

    /// Whether Ctrl-C was pressed.
    pub fn pressed(&self) -> bool {
        self.shared.hit.load(Ordering::SeqCst)
    }

    /// `Interrupted` once Ctrl-C was pressed.
    pub fn check(&self) -> Result<(), Error> {
        if self.pressed() {
            return Err(Error::Interrupted(self.run.clone()));
        }
        Ok(())
    }
}

impl Shared {
    fn interrupt(&self) {
        self.hit.store(true, Ordering::SeqCst);
        if let Some(stream) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            // Fails only if the connection has ended already, and that wakes the reader as well.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_interrupt_wakes_the_reader_and_stays_known() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let interrupt = Interrupt { run: "r1".into(), shared: Arc::default() };
        interrupt.watch(&ours).unwrap();
        let shared = Arc::clone(&interrupt.shared);
        let presser = std::thread::spawn(move || shared.interrupt());
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
        presser.join().unwrap();
        let error = interrupt.check().unwrap_err();
        assert!(error.to_string().contains("preforkd kill r1"), "{error}");
        assert!(interrupt.watch(&ours).is_err());
    }
}
