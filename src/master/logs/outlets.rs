//! Where the output of a pool's processes goes.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::super::Master;
use super::StreamKey;
use crate::logs::{Kind, StreamConfig, of_pool};
use crate::pool::Outlets;
use crate::processfile::Format;
use crate::sys::users;

impl Master {
    /// Opens what the pool's definition names.
    pub(in super::super) fn open_outlets(&mut self, index: usize) -> io::Result<()> {
        let output = self.pools[index].definition.output;
        self.pools[index].outlets = Outlets::open(output, || self.pool_logs(index))?;
        let name: Rc<str> = (&*self.pools[index].definition.name).into();
        for kind in [Kind::Out, Kind::Err] {
            // That of runs with an `output` of their own, which may have ended when no master served.
            if self.logs.is_former(&StreamKey { name: name.clone(), instance: None, kind }) {
                self.pool_log(index, kind)?;
            }
        }
        Ok(())
    }

    /// Writing ends of the pool's pipes to its log files: standard output and error.
    pub(in super::super) fn pool_logs(&mut self, index: usize) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.pool_log(index, Kind::Out)?, self.pool_log(index, Kind::Err)?))
    }

    fn pool_log(&mut self, index: usize, kind: Kind) -> io::Result<OwnedFd> {
        let pool = &self.pools[index].definition;
        let name: Rc<str> = (&*pool.name).into();
        // That there is no such user is said when the zygote is started.
        let owner = users::resolve(pool.user.as_deref(), pool.group.as_deref()).ok().flatten();
        let config = StreamConfig {
            name: name.clone(),
            namespace: None,
            worker: None,
            kind,
            format: Format::Text,
            date: None,
            files: vec![of_pool(&name, kind, &self.options.dirs.logs())],
            recent: false,
        };
        let key = StreamKey { name, instance: None, kind };
        self.open_stream(&key, &config, owner.map(|identity| identity.uid()))
    }
}
