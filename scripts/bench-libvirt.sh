#!/usr/bin/env bash
# The libvirt rows of `make bench`: definitions against virsh, one process each; a raw image of
# 4 GiB with 900 MB of data into a pool against virsh vol-upload, scp and cp, in the same run. What
# counts is the ratio, not the seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly RUNS=${BENCH_RUNS:-3} DEFINES=${BENCH_DEFINES:-500} URI=qemu:///system
work=$(mktemp -d /var/tmp/hyperexport-bench-XXXXXX)
chmod 711 "$work"
sshd=''
cleanup() {
  [ -z "$sshd" ] || kill "$sshd" 2>/dev/null || true
  virsh -q -c "$URI" pool-destroy "${work##*/}" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

ours=$(cargo bench --locked --bench libvirt --no-run --message-format=json 2>/dev/null |
  sed -n 's/.*"executable":"\([^"]*libvirt-[^"]*\)".*/\1/p' | tail -n 1)

make_disk() {
  local n
  truncate -s 4G "$work/disk.raw"
  for n in $(seq 0 8); do
    { head -c 50M /dev/urandom; head -c 50M < <(yes "extent $n"); } |
      dd of="$work/disk.raw" bs=1M seek=$((n * 440)) conv=notrunc status=none iflag=fullblock
  done
}

# sshd on loopback with keys of its own; libvirt's ssh transport takes no known_hosts.
start_sshd() {
  local port key
  for key in host user; do ssh-keygen -q -t ed25519 -N '' -f "$work/$key"; done
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  mkdir -p /run/sshd
  printf '%s\n' "ListenAddress 127.0.0.1:$port" "HostKey $work/host" "AuthorizedKeysFile $work/user.pub" \
    'PidFile none' 'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' 'Subsystem sftp internal-sftp' >"$work/sshd.conf"
  /usr/sbin/sshd -D -f "$work/sshd.conf" &
  sshd=$!
  printf '[127.0.0.1]:%s %s\n' "$port" "$(cat "$work/host.pub")" >"$work/known"
  ssh_options=(-F none -o "UserKnownHostsFile=$work/known" -o IdentitiesOnly=yes -i "$work/user")
  printf '#!/bin/sh\nexec ssh -F none -o UserKnownHostsFile=%s -o IdentitiesOnly=yes "$@"\n' "$work/known" >"$work/ssh"
  chmod 755 "$work/ssh"
  far="qemu+ssh://root@127.0.0.1:$port/system?keyfile=$work/user&command=$work/ssh"
  scp_port=$port
  for _ in $(seq 100); do ssh "${ssh_options[@]}" -p "$port" root@127.0.0.1 true 2>/dev/null && return; sleep 0.1; done
  echo 'bench: sshd does not answer' >&2
  return 1
}

# Seconds and peak KiB of a command that measures itself by its last line, else of the whole.
seconds() { /usr/bin/time -f '%e %M' -o "$work/time" "$@" >"$work/out" 2>"$work/err" || { cat "$work/err" >&2; return 1; }; cat "$work/time"; }
best() { sort -n | head -n 1; }
repeat() { local n; for n in $(seq "$RUNS"); do "$@"; done | best; }

our_import() { # URI copy|stream
  rm -rf "$work/pool"
  seconds "$ours" import "$1" "$2" "$work/disk.raw" "$work/pool" >/dev/null
  echo "$(tail -n 1 "$work/out") $(cut -d' ' -f2 "$work/time")"
}

virsh_upload() { # URI [--sparse]
  local pool=${work##*/} uri=$1 allocation=4294967296
  shift
  rm -rf "$work/virsh-pool"
  mkdir "$work/virsh-pool"
  virsh -q -c "$URI" pool-create-as "$pool" dir --target "$work/virsh-pool" >/dev/null
  [ $# = 0 ] || allocation=0
  virsh -q -c "$URI" vol-create-as "$pool" disk.raw 4294967296 --allocation "$allocation" --format raw >/dev/null
  seconds virsh -q -c "$uri" vol-upload "$@" --pool "$pool" --vol disk.raw --file "$work/disk.raw"
  virsh -q -c "$URI" pool-destroy "$pool" >/dev/null
}

scp_copy() { rm -f "$work/scp.raw"; seconds scp -q "${ssh_options[@]}" -P "$scp_port" "$work/disk.raw" "root@127.0.0.1:$work/scp.raw"; rm -f "$work/scp.raw"; }
cp_sparse() { # [durably]
  rm -f "$work/cp.raw"
  seconds sh -c 'cp --sparse=always "$1" "$2"; [ -z "$3" ] || sync "$2"' - "$work/disk.raw" "$work/cp.raw" "${1-}"
  rm -f "$work/cp.raw"
}

virsh_defines() { # [--validate]
  local n begun ended kib
  "$ours" xml >"$work/one.xml"
  for n in $(seq "$DEFINES"); do sed "s/NUMBER/$n/; /<uuid>/d" "$work/one.xml" >"$work/domain-$n.xml"; done
  begun=$(date +%s.%N)
  for n in $(seq "$DEFINES"); do
    virsh -q -c "$URI" define "$@" "$work/domain-$n.xml" >/dev/null
    virsh -q -c "$URI" autostart "hxb-virsh-$n" >/dev/null
  done
  ended=$(date +%s.%N)
  sed 's/NUMBER/once-more/; /<uuid>/d' "$work/one.xml" >"$work/domain-once-more.xml"
  kib=$(seconds virsh -q -c "$URI" define "$@" "$work/domain-once-more.xml" | cut -d' ' -f2)
  for n in $(seq "$DEFINES") once-more; do virsh -q -c "$URI" undefine "hxb-virsh-$n" >/dev/null; done
  awk -v a="$begun" -v b="$ended" -v k="$kib" 'BEGIN { printf "%.2f %d\n", b - a, k }'
}

our_defines() { seconds "$ours" defines "$DEFINES" "$1" >/dev/null; echo "$(tail -n 1 "$work/out") $(cut -d' ' -f2 "$work/time")"; }

row() { # NAME OURS PEER
  local ours ours_kib peer peer_kib
  read -r ours ours_kib <<<"$2"
  read -r peer peer_kib <<<"$3"
  awk -v n="$1" -v a="$ours" -v k="$ours_kib" -v b="$peer" -v p="$peer_kib" \
    'BEGIN { printf "| %s | %.2f s | %d MiB | %.2f s | %d MiB | %.2f |\n", n, a, k / 1024, b, p / 1024, a / b }'
}

scripts/libvirtd.sh start >&2
make_disk
start_sshd
printf '| row | hyperexport | its peak memory | peer | its peak memory | ratio |\n|---|---|---|---|---|---|\n'
row "$DEFINES definitions with autostart; virsh define, virsh autostart" "$(our_defines plain)" "$(virsh_defines)"
row '… with schema validation on both sides' "$(our_defines validate)" "$(virsh_defines --validate)"
stream=$(repeat our_import "$URI" stream)
row 'stream to this daemon; virsh vol-upload' "$stream" "$(repeat virsh_upload "$URI")"
row '… virsh vol-upload --sparse' "$stream" "$(repeat virsh_upload "$URI" --sparse)"
stream=$(repeat our_import "$far" stream)
row 'stream over qemu+ssh; virsh vol-upload' "$stream" "$(repeat virsh_upload "$far")"
row '… virsh vol-upload --sparse' "$stream" "$(repeat virsh_upload "$far" --sparse)"
row '… scp' "$stream" "$(repeat scp_copy)"
copy=$(repeat our_import "$URI" copy)
row 'copy into a local pool; cp --sparse=always, then sync' "$copy" "$(repeat cp_sparse durably)"
row '… cp --sparse=always, which leaves the data in memory' "$copy" "$(repeat cp_sparse)"
