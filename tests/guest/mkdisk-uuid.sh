#!/usr/bin/env bash
# mkdisk-uuid.sh RAW BASE: the disk BASE of mkdisk-bios.sh, by UUIDs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1 base=$2
readonly START=2048 # sectors of 512 bytes, as in mkdisk-bios.sh

cp --sparse=always "$base" "$raw"
attach "$raw" --offset $((START * 512))
mount "$loop" "$tree"
uuid=$(blkid -o value -s UUID "$loop")
sed -i "s,^/dev/sda1 ,UUID=$uuid ," "$tree/etc/fstab"
sed -i '/^GRUB_DISABLE_LINUX_UUID/d' "$tree/etc/default/grub"
sed -i "s,root=/dev/sda1,root=UUID=$uuid,g" "$tree/boot/grub/grub.cfg"
grep -q "root=UUID=$uuid " "$tree/boot/grub/grub.cfg"
