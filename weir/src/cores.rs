//! Work for all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// Does so many jobs on all cores and gives what came of them, in their order. A bar shows how
/// many are done, in `unit`s.
///
/// # Panics
///
/// If a job does.
pub(crate) fn on_all<T: Send>(jobs: usize, unit: &str, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let bar = bar(jobs, unit);
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<T>>> = (0..jobs).map(|_| Mutex::new(None)).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(jobs) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    let came = work(job);
                    *done[job].lock().expect("no holder panics") = Some(came);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let done = done.into_iter().map(|one| one.into_inner().expect("no holder panics"));
    done.map(|one| one.expect("every job was done")).collect()
}

fn bar(jobs: usize, unit: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(&format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{eta}} left"))
            .expect("the template is fixed");
    ProgressBar::new(jobs as u64).with_style(style)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_came_of_jobs_is_in_their_order() {
        assert_eq!(super::on_all(100, "jobs", |job| job * job)[99], 9_801);
        assert!(super::on_all(0, "jobs", |job| job).is_empty());
    }
}
