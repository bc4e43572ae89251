//! docs/warnings.md is generated from the warning codes.

use std::fmt::Write as _;

use hyperexport::model::WarningCode;

#[test]
fn every_code_stands_in_the_page() {
    let mut page = "# Warnings\n\n\
        Made from the program's own table by `UPDATE_GOLDEN=1 cargo test --test docs`.\n\n\
        A warning does not stop a run. Each has a code that scripts can match: in `warnings` of\n\
        `result.json`, of `--json` and of the manifest. Codes are never renamed.\n\n\
        | code | what it means | what to do |\n|---|---|---|\n"
        .to_owned();
    for code in WarningCode::ALL {
        let (meaning, remedy) = (code.meaning(), code.remedy());
        writeln!(page, "| `{code}` | {meaning} | {remedy} |").expect("to memory");
    }
    super::assert_golden("docs/warnings.md", &page);
}
