//! The time for which an API server has asked to be left alone (`Retry-After`): whoever writes keeps to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use weir_collectors::kubernetes::trouble::Trouble;

/// It may not ask for more: what is on its way back would be late.
const MOST: Duration = Duration::from_secs(30);

/// Shared by all that ask the same server.
#[derive(Clone, Debug, Default)]
pub(super) struct Quiet(Arc<Mutex<Option<(Instant, Trouble)>>>);

impl Quiet {
    /// Whether it may be asked; what it said last, if not.
    pub(super) fn may_ask(&self) -> Result<(), Trouble> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.take_if(|(until, _)| *until <= Instant::now()) {
            Some(_) => Ok(()),
            None => kept.as_ref().map_or(Ok(()), |(_, trouble)| Err(trouble.clone())),
        }
    }

    /// Keeps to what it asks for, if it does.
    pub(super) fn heed(&self, trouble: Trouble) -> Trouble {
        if let Some(after) = trouble.retry_after() {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some((Instant::now() + after.min(MOST), trouble.clone()));
        }
        trouble
    }
}

#[cfg(test)]
mod tests {
    use weir_collectors::kubernetes::trouble::Place;

    use super::*;

    fn refused(after: Option<u64>) -> Trouble {
        Trouble::Refused {
            place: Place { resource: "httproutes", group: "", namespace: None },
            code: 429,
            message: "too many requests".to_owned(),
            retry_after: after.map(Duration::from_secs),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_left_alone_as_long_as_it_asks_and_no_longer() {
        let quiet = Quiet::default();
        assert_eq!(quiet.may_ask(), Ok(()));
        quiet.heed(refused(None));
        assert_eq!(quiet.may_ask(), Ok(()));
        for (asked, kept) in [(7, 7), (86_400, 30)] {
            let trouble = quiet.heed(refused(Some(asked)));
            let other = quiet.clone();
            tokio::time::advance(Duration::from_secs(kept - 1)).await;
            assert_eq!(other.may_ask(), Err(trouble));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(other.may_ask(), Ok(()));
        }
    }
}
