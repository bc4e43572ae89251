#!/usr/bin/env bash
# `make bench`: the export of one disk against `curl` and then `sha256sum` of the same content, from
# the same simulator in the same run. What counts is the ratio, not the seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RUNS=${BENCH_RUNS:-3} SIZE=4G DATA_MIB=100 EXTENTS=9
work=$(mktemp -d /var/tmp/hyperexport-bench-XXXXXX)
simulator=''
cleanup() {
  [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# 4 GiB with nine extents of data, half of it compressible, as guests have it.
make_disk() {
  local n raw=$work/disk.raw
  truncate -s "$SIZE" "$raw"
  for n in $(seq 0 $((EXTENTS - 1))); do
    { head -c $((DATA_MIB / 2))M /dev/urandom; head -c $((DATA_MIB / 2))M < <(yes "extent $n"); } |
      dd of="$raw" bs=1M seek=$((n * 440)) conv=notrunc status=none iflag=fullblock
  done
  qemu-img convert -f raw -O vmdk -o subformat=streamOptimized "$raw" "$work/disk.vmdk"
  rm "$raw"
}

start_simulator() {
  (cd tests/vcsim && GO111MODULE=off GOPATH=/usr/share/gocode go build -o ../../target/vcsimx .)
  printf 'vmware' >"$work/password"
  target/vcsimx -listen 127.0.0.1:0 -user bench -password vmware -nfc-length known -many-leases \
    -vm "name=bench,disk=$work/disk.vmdk" >"$work/ready.json" 2>"$work/simulator.log" &
  simulator=$!
  for _ in $(seq 300); do [ -s "$work/ready.json" ] && break; sleep 0.2; done
  url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$work/ready.json")
  thumbprint=$(sed 's/.*"sha256":"\([^"]*\)".*/\1/' "$work/ready.json")
}

# Seconds and peak KiB of a command, as "SECONDS KIB".
measure() { /usr/bin/time -f '%e %M' -o "$work/time" "$@" >/dev/null 2>"$work/stderr" || { cat "$work/stderr" >&2; return 1; }; cat "$work/time"; }

export_once() {
  rm -rf "$work/export"
  measure target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
    --thumbprint "$thumbprint" --vm bench --output "$work/export" --quiet
}

# The same stream over the same TLS: the simulator serves its VMDK to a lease's address only, so
# the peer fetches it from a lease that stays open for it.
peer_once() {
  measure bash -c 'curl -sk "$1" -o "$2" && sha256sum "$2"' - "$peer_url" "$work/peer.vmdk"
}

best() { sort -n | head -n 1; }

make_disk
start_simulator
peer_url=$(python3 tests/vcsim/lease_url.py "${url#https://}" bench vmware bench)
for _ in $(seq "$RUNS"); do export_once; done >"$work/ours"
for _ in $(seq "$RUNS"); do peer_once; done >"$work/peers"
read -r ours ours_kib < <(best <"$work/ours")
read -r peer peer_kib < <(best <"$work/peers")
printf '| export of a 4 GiB disk with 900 MB of data | best of %s | peak memory |\n|---|---|---|\n' "$RUNS"
printf '| hyperexport (sums, format check, fsync) | %s s | %s KiB |\n' "$ours" "$ours_kib"
printf '| curl, then sha256sum | %s s | %s KiB |\n' "$peer" "$peer_kib"
awk -v a="$ours" -v b="$peer" 'BEGIN { printf "ratio: %.2f\n", a / b }'
