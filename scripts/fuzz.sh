#!/usr/bin/env bash
# Feeds each reader of foreign bytes with nonsense for a while, beginning with what the tests have.
#
#   scripts/fuzz.sh SECONDS [TARGET…]      (or: make fuzz)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly FUZZ=tests/fuzz SECONDS_EACH=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} != 0 ] || mapfile -t targets < <(cd "$FUZZ/targets" && ls ./*.rs | sed 's|./||; s/\.rs$//')
export CARGO_TARGET_DIR=$PWD/target/fuzz-build

for target in "${targets[@]}"; do
  corpus=target/fuzz/corpus-$target found=target/fuzz/found-$target/
  mkdir -p "$corpus" "$found"
  printf '\n=== %s: %s s ===\n' "$target" "$SECONDS_EACH"
  cargo fuzz run --fuzz-dir "$FUZZ" --sanitizer none "$target" "$corpus" "$FUZZ/seeds/$target" -- \
    -max_total_time="$SECONDS_EACH" -rss_limit_mb=512 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$found" -max_len=262144
done
