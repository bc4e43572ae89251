//! Reproducible random numbers: `SEED=N` repeats the run that printed this seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seed of this run, which is printed: from the variable `SEED`, or else from the clock.
pub fn of_this_run() -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(text) => text.parse().expect("SEED is a number below 2^64"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            // The low 64 bits, which vary.
            now.as_nanos() as u64
        }
    };
    println!("SEED={seed}");
    seed
}
