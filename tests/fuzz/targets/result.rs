//! `result.json` and a plan: accepted input is printed, and unchanged after writing.
#![no_main]

use hyperexport::pipeline::{PlanFile, RunReport};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    serde_json::from_slice::<PlanFile>(bytes).ok();
    let Ok(report) = serde_json::from_slice::<RunReport>(bytes) else { return };
    report.summary(true);
    let text = serde_json::to_vec(&report).expect("it is written");
    serde_json::from_slice::<RunReport>(&text).expect("it is read");
});
