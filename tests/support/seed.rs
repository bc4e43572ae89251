//! Random numbers that can be repeated: `SEED=N` gives a test the seed that an earlier run printed.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of this run, printed: from the variable `SEED`, else from the clock.
pub fn of_this_run() -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(text) => text.parse().expect("SEED is a number below 2^64"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            // The low 64 bits: those that differ.
            now.as_nanos() as u64
        }
    };
    println!("SEED={seed}");
    seed
}
