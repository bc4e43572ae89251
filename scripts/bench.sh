#!/usr/bin/env bash
# The export rows of `make bench`: one disk and four at a time against `curl` of the same content
# alone, and against `curl` and then `sha256sum`, from the same simulator in the same run; and an OVA
# against `tar`. What counts is the ratio, not the seconds.
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
  local disk="{\"file\": \"$work/disk.vmdk\"}"
  printf '{"vms": [{"name": "one", "disks": [%s]}, {"name": "four", "disks": [%s, %s, %s, %s]}]}' \
    "$disk" "$disk" "$disk" "$disk" "$disk" >"$work/inventory.json"
  target/vcsimx -listen 127.0.0.1:0 -user bench -password vmware -nfc-length known -many-leases -lease-delay 0 \
    -config "$work/inventory.json" >"$work/ready.json" 2>"$work/simulator.log" &
  simulator=$!
  for _ in $(seq 300); do [ -s "$work/ready.json" ] && break; sleep 0.2; done
  url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$work/ready.json")
  thumbprint=$(sed 's/.*"sha256":"\([^"]*\)".*/\1/' "$work/ready.json")
}

# Seconds, seconds of CPU and peak KiB of a command and its children.
measure() {
  /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$@" >/dev/null 2>"$work/stderr" || { cat "$work/stderr" >&2; return 1; }
  awk '{ print $1, $2 + $3, $4 }' "$work/time"
}

export_once() { # VM
  rm -rf "$work/export"
  measure target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
    --thumbprint "$thumbprint" --vm "$1" --output "$work/export" --parallel 4 --quiet
}

# The same streams over the same TLS: the simulator serves its VMDKs to a lease's addresses only, so
# the peer fetches them from a lease that stays open for it, all at once.
peer_once() { # [and sum] URL...
  rm -f "$work"/peer-*
  # shellcheck disable=SC2016
  measure bash -c 'sum=$1 to=$2; shift 2
    for one; do { n=$((n + 1)); } ; { curl -sk "$one" -o "$to-$n" && { [ -z "$sum" ] || sha256sum "$to-$n"; }; } & done
    wait' - "$1" "$work/peer" "${@:2}"
}

take_ova() {
  rm -rf "$work/export"
  measure target/release/hyperexport --source "$work/ova/one.ova" --output "$work/export" --quiet
}

untar() { # [and sync, check]
  rm -rf "$work/untar" && mkdir "$work/untar"
  # shellcheck disable=SC2016
  measure bash -c 'cd "$1" && tar -xf "$2" && { [ -z "$3" ] || { sync ./* &&
    sed -E "s/^SHA256\((.*)\)= (.*)$/\2  \1/" ./*.mf | sha256sum --quiet --check; }; }' - \
    "$work/untar" "$work/ova/one.ova" "$1"
}

best() { sort -n | head -n 1; }
repeat() { local n; for n in $(seq "$RUNS"); do "$@"; done | best; }

row() { # NAME OURS PEER
  local ours=($2) peer=($3)
  awk -v n="$1" -v a="${ours[0]}" -v c="${ours[1]}" -v k="${ours[2]}" -v b="${peer[0]}" -v d="${peer[1]}" -v p="${peer[2]}" \
    'BEGIN { printf "| %s | %.2f s | %.2f s | %d MiB | %.2f s | %.2f s | %d MiB | %.2f | %.2f |\n", n, a, c, k / 1024, b, d, p / 1024, a / b, c / d }'
}

make_disk
start_simulator
printf '| row | hyperexport | its CPU | its peak memory | peer | its CPU | its peak memory | ratio | ratio of CPU |\n'
printf '|---|---|---|---|---|---|---|---|---|\n'
for vm in one four; do
  mapfile -t urls < <(python3 tests/vcsim/lease_url.py "${url#https://}" bench vmware "$vm")
  ours=$(repeat export_once "$vm")
  row "export of $vm: curl alone" "$ours" "$(repeat peer_once '' "${urls[@]}")"
  row "… curl, then sha256sum" "$ours" "$(repeat peer_once sum "${urls[@]}")"
done
target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
  --thumbprint "$thumbprint" --vm one --output "$work/ova" --format ova --quiet
ours=$(repeat take_ova)
row 'an OVA: tar' "$ours" "$(repeat untar '')"
row '… tar, sync, sha256sum' "$ours" "$(repeat untar all)"
