#!/usr/bin/env bash
# Compares all dependencies with the RustSec advisories. Where their database cannot be fetched, it says
# so and ends well: that is no fault of a dependency.
#
#   scripts/advisories.sh      (or: make advisories)
set -euo pipefail
cd "$(dirname "$0")/.."

said=$(mktemp)
trap 'rm -f "$said"' EXIT
read -ra cargo <<<"${CARGO:-cargo}"

if ! "${cargo[@]}" deny fetch db >"$said" 2>&1; then
  # The last line that tells why, without colours.
  why=$(sed 's/\x1b\[[0-9;]*m//g' "$said" | grep -v '^[[:space:]]*$' | tail -n 1)
  echo "SKIPPED: the advisory database cannot be fetched: ${why:-no reason was given}"
  exit 0
fi
"${cargo[@]}" deny check --disable-fetch --hide-inclusion-graph advisories
