//! How many files and connections this process, and those that it starts, may have open.
//!
//! The usual limit is 1,024; two fleets of forty proxies with ten backends each hold about
//! 2,000 connections in a quiet hour. A process may raise its own limit up to the hard one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// What a run with everything timing out needs, three times over; not all that the hard limit
/// allows, since some programs close every number up to their limit one by one.
const WANTED: u64 = 65_536;

/// Raises the limit where that is possible and needed, and returns what it is now.
pub fn raise() -> io::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if limit() < wanted {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(limit())
}

/// What the limit is now.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_and_stays() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(1024), maximum }).unwrap();
        let raised = raise().unwrap();
        assert_eq!(raised, maximum.map_or(WANTED, |maximum| maximum.min(WANTED)));
        assert_eq!(raise().unwrap(), raised);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(raised));
    }
}
