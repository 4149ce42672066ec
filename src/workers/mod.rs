//! Workers: processes that are kept up. What a worker is told, what its exits mean, when it is tried again: all of it
//! decided here, on a clock that is handed in, without a process in sight; the master's loop does what is decided.
