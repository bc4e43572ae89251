#!/usr/bin/env bash
# The conversion rows of `make bench`: a VMDK to qcow2 of every kind against `qemu-img convert`, a
# stream against `curl` and then `qemu-img`, an OVA against `tar` and then `qemu-img`, and a real Debian
# guest from its OVA against hyper2kvm and virt-v2v. What counts is the ratio, not the seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/bench-common.sh

readonly HYPER2KVM=$PWD/.cache/hyper2kvm-venv/bin/hyper2kvm
# The same for all: guests do not run on every machine's KVM.
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS:-force_tcg}

convert_once() { # KIND
  local how=(--compress-type "$1")
  [ "$1" != none ] || how=(--pipeline-compress=false)
  rm -rf "$work/converted" && mkdir "$work/converted"
  sed "s,$work/made,$work/converted,g" "$work/made/manifest.json" >"$work/converted/manifest.json"
  measure target/release/hyperexport convert --manifest "$work/converted/manifest.json" --converter native \
    "${how[@]}" --pipeline-inspect=false --pipeline-fix=false --pipeline-validate=false --quiet
}

qemu_img_once() { # KIND
  local how=(-c -W -m 16 -o "compression_type=$1")
  [ "$1" != none ] || how=(-W -m 16)
  rm -f "$work/peer.qcow2"
  measure qemu-img convert -f vmdk -O qcow2 "${how[@]}" "$work/disk.vmdk" "$work/peer.qcow2"
}

stream_once() { # [PROGRAM]
  rm -rf "$work/streamed"
  measure "${1:-target/release/hyperexport}" --url "$url" --username bench --password-file "$work/password" \
    --thumbprint "$thumbprint" --vm one --output "$work/streamed" --quiet --pipeline --converter native \
    --pipeline-inspect=false --pipeline-fix=false --pipeline-validate=false
}

curl_then_qemu_img() { # URL
  rm -rf "$work/fetched" && mkdir "$work/fetched"
  # shellcheck disable=SC2016
  measure bash -c 'curl -sk "$1" -o "$2/disk.vmdk" &&
    qemu-img convert -f vmdk -O qcow2 -c -W -m 16 -o compression_type=zstd "$2/disk.vmdk" "$2/disk.qcow2"' - \
    "$1" "$work/fetched"
}

ova_once() {
  rm -rf "$work/taken"
  measure target/release/hyperexport --source "$work/ova/one.ova" --output "$work/taken" --quiet --pipeline \
    --converter native --pipeline-inspect=false --pipeline-fix=false --pipeline-validate=false
}

tar_then_qemu_img() {
  rm -rf "$work/untarred" && mkdir "$work/untarred"
  # shellcheck disable=SC2016
  measure bash -c 'tar -xf "$1" -C "$2" &&
    qemu-img convert -f vmdk -O qcow2 -c -W -m 16 -o compression_type=zstd "$2"/*.vmdk "$2/disk.qcow2"' - \
    "$work/ova/one.ova" "$work/untarred"
}

# Most KiB that a folder held while a command ran.
peak_of() { # FOLDER COMMAND…
  local folder=$1 most=0 now pid
  shift
  "$@" >/dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    now=$(du -sk "$folder" 2>/dev/null | cut -f 1) || true
    [ "${now:-0}" -le "$most" ] || most=$now
    sleep 0.05
  done
  wait "$pid"
  echo "$most"
}

job_once() { # CONVERTER [PROGRAM]
  local how=(--converter "$1")
  [ "$1" != hyper2kvm ] || how+=(--hyper2kvm-path "$HYPER2KVM")
  rm -rf "$work/job"
  measure "${2:-target/release/hyperexport}" --source "$work/guest/guest.ova" --output "$work/job" --strict --quiet \
    --pipeline "${how[@]}"
}

virt_v2v_once() {
  rm -rf "$work/job" && mkdir "$work/job"
  measure virt-v2v -i ova "$work/guest/guest.ova" -o local -os "$work/job" -of qcow2
}

size() { stat -c %s "$1"; }

tests/guest/build.sh uuid
make_disk
start_simulator "{\"name\": \"guest\", \"cpu\": 1, \"memory_mb\": 1024, \"guest_id\": \"debian12_64Guest\",
  \"disks\": [{\"file\": \"$PWD/.cache/guest/debian-uuid.vmdk\"}]}"
target/release/hyperexport --source "$work/disk.vmdk" --name disk --cpu 1 --memory 1024 \
  --output "$work/made" --manifest --quiet
printf '| row | hyperexport | its CPU | its peak memory | peer | its CPU | its peak memory | ratio | ratio of CPU |\n'
printf '|---|---|---|---|---|---|---|---|---|\n'
for kind in zstd zlib none; do
  versus "$kind: qemu-img convert" "convert_once $kind" "qemu_img_once $kind"
  sizes+=("$(awk -v n="$kind" -v a="$(size "$work/converted/disk.qcow2")" -v b="$(size "$work/peer.qcow2")" \
    'BEGIN { printf "| %s | %.1f MiB | %.1f MiB | %.4f |", n, a / 1048576, b / 1048576, a / b }')")
done
mapfile -t urls < <(python3 tests/vcsim/lease_url.py "${url#https://}" bench vmware one)
versus 'a stream: curl, then qemu-img' stream_once "curl_then_qemu_img ${urls[0]}"
ours=$(peak_of "$work/streamed" stream_once)
peers=$(peak_of "$work/fetched" curl_then_qemu_img "${urls[0]}")
sizes+=("$(awk -v a="$ours" -v b="$peers" \
  'BEGIN { printf "| most on disk of a stream | %.1f MiB | %.1f MiB | %.4f |", a / 1024, b / 1024, a / b }')")
target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
  --thumbprint "$thumbprint" --vm one --output "$work/ova" --format ova --quiet
versus 'an OVA: tar, then qemu-img' ova_once tar_then_qemu_img
ours=$(peak_of "$work/taken" ova_once)
peers=$(peak_of "$work/untarred" tar_then_qemu_img)
sizes+=("$(awk -v a="$ours" -v b="$peers" \
  'BEGIN { printf "| most on disk of an OVA | %.1f MiB | %.1f MiB | %.4f |", a / 1024, b / 1024, a / b }')")
sizes+=("$(awk -v a="$ours" -v b="$(du -sk "$work/taken" | cut -f 1)" \
  'BEGIN { printf "| … the result itself | %.1f MiB | %.1f MiB | %.4f |", a / 1024, b / 1024, a / b }')")
target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
  --thumbprint "$thumbprint" --vm guest --output "$work/guest" --format ova --quiet
# What a change costs: BENCH_BEFORE names a program that was built before the change.
if [ -n "${BENCH_BEFORE:-}" ]; then
  versus 'a stream: before the change' stream_once "stream_once $BENCH_BEFORE"
  versus 'a Debian guest: before the change' 'job_once native' "job_once native $BENCH_BEFORE"
fi
versus 'a Debian guest: through hyper2kvm' 'job_once native' 'job_once hyper2kvm'
versus '… virt-v2v' 'job_once native' virt_v2v_once
printf '\n| size | hyperexport | peer | ratio |\n|---|---|---|---|\n'
printf '%s\n' "${sizes[@]}"
