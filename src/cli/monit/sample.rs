//! What the workers use: the share of a processor since the sample before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cli::workers::{percent, title};
use crate::sys::usage::Usage;
use crate::wire::apps::WorkerInfo;
use crate::wire::status::Timestamp;

/// Samples that are nearer to each other tell nothing.
const TOO_NEAR: Duration = Duration::from_millis(500);

/// A worker and what its process uses.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the daemon tells.
    pub worker: WorkerInfo<'static>,
    /// Percent of one processor.
    pub cpu: Option<f64>,
    /// Resident bytes.
    pub memory: Option<u64>,
}

impl Row {
    /// Whether a filter, in lower case, lets it pass.
    pub fn has(&self, wanted: &str) -> bool {
        let worker = &self.worker;
        title(worker).to_lowercase().contains(wanted)
            || worker.namespace.to_lowercase().contains(wanted)
            || worker.state.as_str().contains(wanted)
            || worker.id.to_string() == wanted
    }
}

/// A process: a number that came back is another one.
type Process = (u32, Option<Timestamp>);

/// The samples before.
#[derive(Debug, Default)]
pub struct Sampler {
    before: HashMap<Process, Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    cpu: Duration,
    percent: Option<f64>,
}

impl Sampler {
    /// The workers with what they use. Of a process not seen before it is the share over its whole life.
    pub fn rows(
        &mut self,
        workers: Vec<WorkerInfo<'static>>,
        now: Instant,
        usage: &dyn Fn(&WorkerInfo) -> Option<Usage>,
    ) -> Vec<Row> {
        let mut samples = HashMap::with_capacity(workers.len());
        let rows = workers
            .into_iter()
            .map(|worker| {
                let (Some(pid), Some(used)) = (worker.pid, usage(&worker)) else {
                    return Row { worker, cpu: None, memory: None };
                };
                let process = (pid, worker.started_at);
                let sample = match self.before.get(&process) {
                    Some(before) if now - before.at < TOO_NEAR => *before,
                    Some(before) => {
                        let spent = used.cpu.saturating_sub(before.cpu).as_secs_f64();
                        let percent = Some(100.0 * spent / (now - before.at).as_secs_f64());
                        Sample { at: now, cpu: used.cpu, percent }
                    }
                    None => Sample { at: now, cpu: used.cpu, percent: percent(&worker, used) },
                };
                samples.insert(process, sample);
                Row { worker, cpu: sample.percent, memory: Some(used.memory) }
            })
            .collect();
        self.before = samples;
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::workers::tests::worker;

    fn up(started_at: &str) -> Vec<WorkerInfo<'static>> {
        vec![worker(serde_json::json!({"pid": 41, "uptime_ms": 10_000, "started_at": started_at}))]
    }

    fn uses(ms: u64) -> impl Fn(&WorkerInfo) -> Option<Usage> {
        move |_| Some(Usage { memory: 4096, cpu: Duration::from_millis(ms) })
    }

    #[test]
    fn the_share_is_of_the_time_since_the_sample_before() {
        let (start, mut sampler) = (Instant::now(), Sampler::default());
        let at = |ms| start + Duration::from_millis(ms);
        let one = "1970-01-01T00:00:01.000000Z";
        let mut cpu = |ms, used, started| sampler.rows(up(started), at(ms), &uses(used))[0].cpu.unwrap().round() as u32;
        assert_eq!(cpu(0, 1000, one), 10, "over its life");
        assert_eq!(cpu(1000, 1500, one), 50);
        assert_eq!(cpu(1100, 1600, one), 50, "too near to tell");
        assert_eq!(cpu(2000, 2000, one), 50, "measured from the last good one");
        assert_eq!(cpu(3000, 100, "1970-01-01T00:00:09.000000Z"), 1, "another process of that number");
    }

    #[test]
    fn a_worker_without_a_process_uses_nothing() {
        let rows = Sampler::default().rows(vec![worker(serde_json::json!({}))], Instant::now(), &uses(1));
        assert_eq!((rows[0].cpu, rows[0].memory), (None, None));
    }
}
