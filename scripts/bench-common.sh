# Sourced by the benchmarks: a disk, a simulator that has it, and how things are measured.
# shellcheck shell=bash

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

start_simulator() { # [another VM, as JSON]
  (cd tests/vcsim && GO111MODULE=off GOPATH=/usr/share/gocode go build -o ../../target/vcsimx .)
  printf 'vmware' >"$work/password"
  local disk="{\"file\": \"$work/disk.vmdk\"}"
  printf '{"vms": [{"name": "one", "disks": [%s]}, {"name": "four", "disks": [%s, %s, %s, %s]}%s]}' \
    "$disk" "$disk" "$disk" "$disk" "$disk" "${1:+, $1}" >"$work/inventory.json"
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

best() { sort -n | head -n 1; }
# By turns, so that both meet the same machine.
versus() { # NAME OURS PEER, the latter two as words of a command
  local n ours=() peers=()
  for n in $(seq "$RUNS"); do
    # shellcheck disable=SC2086
    ours+=("$($2)") peers+=("$($3)")
  done
  row "$1" "$(printf '%s\n' "${ours[@]}" | best)" "$(printf '%s\n' "${peers[@]}" | best)"
}

row() { # NAME OURS PEER
  local ours=($2) peer=($3)
  awk -v n="$1" -v a="${ours[0]}" -v c="${ours[1]}" -v k="${ours[2]}" -v b="${peer[0]}" -v d="${peer[1]}" -v p="${peer[2]}" \
    'BEGIN { printf "| %s | %.2f s | %.2f s | %d MiB | %.2f s | %.2f s | %d MiB | %.2f | %.2f |\n", n, a, c, k / 1024, b, d, p / 1024, a / b, c / d }'
}
