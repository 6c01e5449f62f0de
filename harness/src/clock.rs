//! The host's clock: repeated timings, and the date.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Calls `work` for about `seconds`, at least three times, and returns the seconds of each call.
pub fn repeat<E>(seconds: f64, mut work: impl FnMut() -> Result<(), E>) -> Result<Vec<f64>, E> {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    while times.len() < 3 || Instant::now() < until {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
