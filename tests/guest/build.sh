#!/usr/bin/env bash
# Builds a small Debian guest that thinks it lives on VMware, and leaves in OUT_DIR
#
#   debian-FIRMWARE.raw    its disk, 2 GiB, sparse
#   debian-FIRMWARE.vmdk   the same as a streamOptimized VMDK (of the first four)
#
#   tests/guest/build.sh bios|uefi|uuid|lvm|vendor|places|cloud|luks [OUT_DIR]
#
# OUT_DIR is .cache/guest of this repository by default. bios and uefi go by device names. The others
# are made from one of these, which is built first: uuid is bios by UUIDs, as an installer leaves it;
# lvm is bios on a GPT, its root on LVM, its address networkd's, no driver of KVM in its initramfs;
# vendor is uefi whose loader lies in the folder of its vendor alone; places names its disks by their
# places on VMware's buses, and has two network cards; cloud was set up by cloud-init from VMware's
# data source, and dracut built its initramfs; luks has an encrypted root.
# A guest that these very scripts have built is kept. Callers in parallel wait for each other.
# Needs root (loop devices and mounts); leaves neither behind, however it ends.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
readonly here
say() { printf 'guest: %s\n' "$*" >&2; }
die() { printf 'guest: error: %s\n' "$*" >&2; exit 1; }

firmware=${1:-}
case $firmware in
  bios | uefi | uuid | lvm | vendor | places | cloud | luks) ;;
  *) die "usage: ${0##*/} bios|uefi|uuid|lvm|vendor|places|cloud|luks [OUT_DIR]" ;;
esac
out=${2:-$here/../../.cache/guest}
mkdir -p "$out"
out=$(cd "$out" && pwd)
name=debian-$firmware
scripts=("$here/build.sh" "$here/build-rootfs.sh" "$here/devices.sh" "$here/mkdisk-$firmware.sh")
base=()
case $firmware in
  uuid | lvm | places | cloud | luks) from=bios ;;
  vendor) from=uefi ;;
  *) from= ;;
esac
if [ -n "$from" ]; then
  "$here/build.sh" "$from" "$out"
  base=("$out/debian-$from.raw")
  scripts+=("$here/mkdisk-$from.sh")
fi
# Those that a simulated vCenter serves are there as VMDKs, too.
images=(raw)
case $firmware in bios | uefi | uuid | lvm) images+=(vmdk) ;; esac
stamp=$(cat "${scripts[@]}" | sha256sum)

exec 9>"$out/.$name.lock"
flock 9
if [ "$(cat "$out/.$name.stamp" 2>/dev/null)" = "$stamp" ] && [ -s "$out/$name.${images[-1]}" ]; then
  say "$out/$name.${images[-1]} is up to date"
  exit 0
fi
[ "$(id -u)" = 0 ] || die "building a disk takes loop devices and mounts: run it as root"

# What a killed build left is in nobody's way: the lock says that no other build of it runs.
rm -rf "$out/.$name.build."*
work=$(mktemp -d "$out/.$name.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

began=$SECONDS
say "building $name, which takes two minutes or so; log: $out/$name.log"
# In a mount namespace of its own: a mount cannot outlive the build, even a killed one. The lock
# stays here, so that no stray child can hold it.
if ! unshare --mount --propagation private \
  "$here/mkdisk-$firmware.sh" "$work/$name.raw" "${base[@]}" 9>&- >"$out/$name.log" 2>&1; then
  tail -n 20 "$out/$name.log" >&2
  die "building $name did not work: see $out/$name.log"
fi
if [ "${images[-1]}" = vmdk ]; then
  say "writing the VMDK"
  qemu-img convert -f raw -O vmdk -o subformat=streamOptimized "$work/$name.raw" "$work/$name.vmdk" 9>&-
fi

rm -f "$out/.$name.stamp"
for image in "${images[@]}"; do mv "$work/$name.$image" "$out/$name.$image"; done
printf '%s\n' "$stamp" >"$work/stamp"
mv "$work/stamp" "$out/.$name.stamp"
say "$out/$name.${images[-1]} is ready after $((SECONDS - began)) s"
