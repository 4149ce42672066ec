//! The log files that are open: one object a path, however many write to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use super::compress::Compressor;
use super::file::{FileConfig, LogFile, Notice, Notices};
use crate::sys::stage::Marks;

/// All of them.
#[derive(Debug, Default)]
pub struct Files {
    open: HashMap<Rc<Path>, Weak<RefCell<LogFile>>>,
    compressor: Compressor,
    notices: Notices,
    marks: Option<Rc<Marks>>,
}

impl Files {
    /// Each write of them is marked there.
    pub fn marked(marks: Rc<Marks>) -> Files {
        Files { marks: Some(marks), ..Files::default() }
    }

    /// Where.
    pub fn marks(&self) -> Option<&Rc<Marks>> {
        self.marks.as_ref()
    }

    /// The file of that path, kept as `config` says from now on.
    pub fn open(&mut self, config: FileConfig) -> io::Result<Rc<RefCell<LogFile>>> {
        if let Some(file) = self.open.get(&config.path).and_then(Weak::upgrade) {
            if *file.borrow().config() != config {
                file.borrow_mut().configure(config)?;
            }
            return Ok(file);
        }
        let path = config.path.clone();
        let file = LogFile::open(config, self.compressor.clone(), self.notices.clone(), self.marks.clone())?;
        let file = Rc::new(RefCell::new(file));
        self.open.retain(|_, file| file.strong_count() > 0);
        self.open.insert(path, Rc::downgrade(&file));
        Ok(file)
    }

    /// Opens all anew by their names. Returns those that could not be; they go on as they are.
    pub fn reopen(&mut self) -> Vec<(PathBuf, io::Error)> {
        let mut failed = Vec::new();
        for (path, file) in &self.open {
            if let Some(Err(e)) = file.upgrade().map(|file| file.borrow_mut().reopen()) {
                failed.push((path.to_path_buf(), e));
            }
        }
        failed
    }

    /// What there is to tell since the last time.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.borrow_mut())
    }

    /// Whether that path is open.
    pub fn has(&self, path: &Path) -> bool {
        self.open.get(path).is_some_and(|file| file.strong_count() > 0)
    }

    /// Whether nothing is being compressed.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.compressor.is_idle()
    }
}
