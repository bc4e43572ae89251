#!/usr/bin/env bash
# test.sh [PROFILE]: runs the tests, all of them or those of a profile of .config/nextest.toml (quick), and
# shows at the end how many were skipped and why. A skipped test passes with a line 'skipped: REASON';
# where CI is set it fails instead.
#
# cargo-nextest ends what hangs and knows which tests must not run side by side. Without it the tests run
# one after the other, and the quick ones are those of the libraries and programs named here.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
profile=${1:-default}
cargo=${CARGO:-cargo}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Without it the tests start the appliance of the system, which takes twice as long.
appliance=$PWD/.cache/guest/appliance
[ ! -e "$appliance/README.fixed" ] || export LIBGUESTFS_PATH="$appliance"

if $cargo nextest --version >/dev/null 2>&1; then
  target=${CARGO_TARGET_DIR:-target}
  rm -f "$target/nextest/$profile/junit.xml"
  $cargo nextest run --locked --profile "$profile"
  code=$?
  [ ! -e "$target/nextest/$profile/junit.xml" ] || cp "$target/nextest/$profile/junit.xml" "$output"
else
  only=()
  [ "$profile" = default ] || only=(--lib --bins --test cli --test docs --test layout --test files --test hostile --test vsphere)
  $cargo test --locked --no-fail-fast "${only[@]}" -- --test-threads=1 --show-output | tee "$output"
  code=$?
fi

# A line of a test's output, alone or as the first of its element in the XML.
skipped=$(grep -oE '(^|>)skipped: [^<]*' "$output" | sed 's/^>//' | sort | uniq -c | sort -rn)
printf 'tests skipped: %d\n' "$(awk '{ n += $1 } END { print n + 0 }' <<<"$skipped")"
[ -z "$skipped" ] || printf '%s\n' "$skipped"
exit "$code"
