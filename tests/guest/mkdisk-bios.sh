#!/usr/bin/env bash
# mkdisk-bios.sh RAW: a disk with an MBR, one ext4 partition and GRUB for a BIOS.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1
readonly START=2048 # sectors of 512 bytes

truncate -s 2G "$raw"
sfdisk --quiet "$raw" <<END
label: dos
label-id: 0xdeb1a001
start=$START, type=83, bootable
END
attach "$raw"
disk=$loop
attach "$raw" --offset $((START * 512))
root=$loop
mkfs.ext4 -q -F -L debroot -U 5eed0000-0000-4000-8000-00000000b105 "$root"
mount "$root" "$tree"
"$here/build-rootfs.sh" "$tree" debian-bios '/dev/sda1 / ext4 errors=remount-ro 0 1' grub-pc

enter_tree
chroot "$tree" update-grub
echo "(hd0) $disk" >"$tree/boot/grub/device.map"
# The file system seems to lie on another device than the disk, so GRUB would leave out the module
# for the partition table.
chroot "$tree" grub-install --target=i386-pc --no-floppy --modules="biosdisk part_msdos ext2" "$disk"
leave_tree
sed -i "s,root=$root,root=/dev/sda1,g" "$tree/boot/grub/grub.cfg"
grep -q 'root=/dev/sda1 ' "$tree/boot/grub/grub.cfg"
echo "(hd0) /dev/sda" >"$tree/boot/grub/device.map"
fstrim "$tree"
