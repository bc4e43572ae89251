#!/usr/bin/env bash
# The whole way of one VM, for real: a Debian guest on a vCenter simulator is exported, converted
# and fixed, defined in libvirt, and started until its login prompt shows.
#
#   scripts/demo.sh [CONVERTER]      (or: make demo; as root, for loop devices and libvirt)
#
# CONVERTER is native, or hyper2kvm or virt-v2v.
#
# Removes again what it made in libvirt and ends what it started, however it ends. Two things stay:
# ./export-demo, for a look, until the next demo replaces it, and .cache/, so that the next is quick.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CONVERTER=${1:-native}
readonly VM=Debian-Server DOMAIN=debian-server
readonly USER_NAME=administrator@vsphere.local
readonly OUTPUT=./export-demo
readonly POOL=hyperexport-demo
# Where QEMU's own user can read, whatever the rights of this checkout are. What lies below it is of
# a demo, and no other demo runs beside this one.
readonly WORK_PREFIX=/var/tmp/hyperexport-demo.
readonly LOCK=/run/lock/hyperexport-demo
readonly BOOT_SECONDS=240
# Debian's place of Go libraries.
readonly GO_LIBRARIES=/usr/share/gocode

say() { printf 'demo: %s\n' "$*"; }
die() { printf 'demo: error: %s\n' "$*" >&2; exit 1; }
virsh() { command virsh --quiet --connect qemu:///system "$@"; }

steps=()
step() { # step NAME COMMAND…: runs it and notes how long it took
  local name=$1 began=$SECONDS
  shift
  printf '\n=== %s ===\n' "$name"
  "$@"
  steps+=("$(printf '%5d s  %s' $((SECONDS - began)) "$name")")
}

# --- what it makes, and how that goes again -------------------------------------------------

domain_is_ours() { virsh domblklist "$DOMAIN" 2>/dev/null | grep -qF " $WORK_PREFIX"; }
pool_is_ours() { virsh pool-dumpxml "$POOL" 2>/dev/null | grep -qF "<path>$WORK_PREFIX"; }

# Of this demo, or of one that was killed.
remove_from_libvirt() {
  if domain_is_ours; then
    virsh destroy "$DOMAIN" >/dev/null 2>&1 || true # it may not run
    virsh undefine "$DOMAIN" --nvram >/dev/null
  fi
  if pool_is_ours; then
    virsh pool-destroy "$POOL" >/dev/null 2>&1 || true # it may not be active
    virsh pool-undefine "$POOL" >/dev/null
  fi
}

clean_up() {
  local status=$?
  set +e
  trap '' INT TERM HUP
  printf '\n=== Cleaning up ===\n'
  remove_from_libvirt
  [ -z "${SIMULATOR_PID:-}" ] || kill "$SIMULATOR_PID" 2>/dev/null
  [ -z "${reader:-}" ] || kill "$reader" 2>/dev/null
  [ -z "${guest:-}" ] || kill "$guest" 2>/dev/null
  wait
  scripts/libvirtd.sh stop
  rm -rf "$work"
  if [ "$status" = 0 ]; then
    printf '\n'
    printf '%s\n' "${steps[@]}" "$(printf '%5d s  in all' $SECONDS)"
    say "done. The export is in $OUTPUT."
  else
    say "ended with exit code $status" >&2
  fi
  exit "$status"
}

# --- the steps --------------------------------------------------------------------------------

build() {
  # The guest's packages come over the network while the compiler has the processors.
  tests/guest/build.sh bios &
  guest=$!
  cargo build --release --locked
  (cd tests/vcsim && GO111MODULE=off GOPATH=$GO_LIBRARIES go build -o ../../target/vcsimx .)
  wait "$guest" || die "the guest was not built"
  guest=
}

start_libvirt() {
  scripts/libvirtd.sh start 8>&- # a daemon must not hold the lock
  remove_from_libvirt
  ! virsh domstate "$DOMAIN" >/dev/null 2>&1 || die "there is a domain '$DOMAIN' already: rename it"
  ! virsh pool-info "$POOL" >/dev/null 2>&1 || die "there is a pool '$POOL' already: remove it"
}

start_vcenter() {
  local password ready
  password=$(openssl rand -hex 12)
  (umask 077 && printf '%s' "$password" >"$work/password")
  # It ends with its standard input, so it cannot outlive this script.
  coproc SIMULATOR {
    exec target/vcsimx -listen 127.0.0.1:0 -user "$USER_NAME" -password "$password" -exit-with-stdin \
      -vm "name=$VM,disk=$PWD/.cache/guest/debian-bios.vmdk,cpu=1,mem=1024,firmware=bios,guest=debian12_64Guest,nic=00:50:56:aa:bb:01@VM Network" \
      2>"$work/vcsimx.log"
  }
  read -r -t 120 ready <&"${SIMULATOR[0]}" || die "the simulator did not start: $(tail -n 5 "$work/vcsimx.log")"
  url=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["url"])' "$ready")
  thumbprint=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["sha256"])' "$ready")
  say "vCenter simulator at $url"
  target/release/hyperexport list --url "$url" --username "$USER_NAME" \
    --password-file "$work/password" --thumbprint "$thumbprint"
}

migrate() {
  if [ -e "$OUTPUT" ]; then
    [ -e "$OUTPUT/.demo" ] || die "$OUTPUT is not of a demo: move it away"
    rm -rf "$OUTPUT"
  fi
  # --strict: a conversion or definition that does not work must end the demo.
  local command=(target/release/hyperexport
    --url "$url" --username "$USER_NAME" --password-file "$work/password" --thumbprint "$thumbprint"
    --vm "$VM" --output "$OUTPUT"
    --pipeline --converter "$CONVERTER"
    --libvirt --libvirt-autostart --libvirt-bridge virbr0
    --libvirt-pool "$POOL" --libvirt-pool-path "$work/pool" --strict)
  [ "$CONVERTER" != hyper2kvm ] || command+=(--hyper2kvm-path .cache/hyper2kvm-venv/bin/hyper2kvm)
  printf '$'
  printf ' %q' "${command[@]}"
  printf '\n'
  "${command[@]}"
  touch "$OUTPUT/.demo"
  ls -lsh "$OUTPUT"
}

console() { sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g; s/\x1b[()c].\?//g; s/\r//g' "$work/console" | grep -av '^[[:space:]]*$' || true; }

start_domain() {
  virsh start "$DOMAIN" >/dev/null
  : >"$work/console"
  cat "$(virsh ttyconsole "$DOMAIN")" >"$work/console" 2>/dev/null & # ends with the domain
  reader=$!
}

boot() {
  local began=$SECONDS crashes=0
  start_domain
  until grep -aq 'login:' "$work/console"; do
    if [ $((SECONDS - began)) -gt $BOOT_SECONDS ]; then
      console | tail -n 20 >&2
      die "no login prompt after $BOOT_SECONDS s"
    fi
    # QEMU itself may crash when it emulates two processors (assertion in iotlb_to_section).
    if [ "$(virsh domstate "$DOMAIN" --reason)" = "shut off (crashed)" ] && [ $((crashes++)) -lt 3 ]; then
      say "QEMU crashed ($(tail -n 2 "/var/log/libvirt/qemu/$DOMAIN.log" | head -n 1)); starting again"
      start_domain
    fi
    sleep 1
  done
  virsh dominfo "$DOMAIN" | grep -E '^(Name|State|CPU\(s\)|Max memory|Autostart)'
  printf '\nserial console, %d s after the start:\n\n' $((SECONDS - began))
  console | tail -n 12 | sed 's/^/  | /'
}

[ "$(id -u)" = 0 ] || die "making the guest's disk and the libvirt pool takes root: sudo make demo"
exec 8>"$LOCK"
flock --nonblock 8 || die "another demo is running"
work=$(mktemp -d "${WORK_PREFIX}XXXXXX")
chmod 711 "$work"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
step "System packages and hyper2kvm" scripts/setup.sh test
step "Release build, simulator and guest" build
step "libvirt" start_libvirt
step "vCenter" start_vcenter
step "Export, convert, define" migrate
step "Start the domain and read its serial console" boot
