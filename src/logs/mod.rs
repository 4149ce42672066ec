//! Output of workers and pools: from pipes to files that rotate, with bounded memory. The master's loop reads the pipes;
//! what takes long (gzip) happens on a thread of its own.
