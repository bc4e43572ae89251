#!/usr/bin/env bash
# mkdisk-uefi.sh RAW: a disk with a GPT, an EFI system partition, an ext4 root, and GRUB on the
# removable-media path, where firmware without boot entries looks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1
# All in sectors of 512 bytes; the GPT's copy takes the disk's last 33.
readonly ESP_START=2048 ESP_SIZE=131072 ROOT_START=133120 ROOT_SIZE=4059136
readonly ROOT_UUID=5eed0000-0000-4000-8000-0000000000ef

truncate -s 2G "$raw"
sfdisk --quiet "$raw" <<END
label: gpt
start=$ESP_START, size=$ESP_SIZE, type=uefi, name=ESP
start=$ROOT_START, size=$ROOT_SIZE, type=linux, name=root
END
attach "$raw" --offset $((ROOT_START * 512)) --sizelimit $((ROOT_SIZE * 512))
root=$loop
attach "$raw" --offset $((ESP_START * 512)) --sizelimit $((ESP_SIZE * 512))
esp=$loop
mkfs.vfat -F 32 -n ESP "$esp"
mkfs.ext4 -q -F -L debroot -U "$ROOT_UUID" "$root"
mount "$root" "$tree"
"$here/build-rootfs.sh" "$tree" debian-uefi '/dev/sda2 / ext4 errors=remount-ro 0 1
/dev/sda1 /boot/efi vfat umask=0077 0 1' grub-efi-amd64
mkdir -p "$tree/boot/efi"

enter_tree
chroot "$tree" update-grub
# By hand instead of grub-install, which wants the system partition mounted: kernels without vfat
# exist, so it is written with mtools.
cat >"$tree/tmp/load.cfg" <<END
search.fs_uuid $ROOT_UUID root
set prefix=(\$root)/boot/grub
END
chroot "$tree" grub-mkimage -O x86_64-efi -p /boot/grub -c /tmp/load.cfg -o /tmp/BOOTX64.EFI \
  part_gpt part_msdos fat ext2 search_fs_uuid normal configfile linux echo gzio all_video \
  test serial terminal minicmd ls
leave_tree
mkdir -p "$tree/boot/grub/x86_64-efi"
cp "$tree"/usr/lib/grub/x86_64-efi/*.{mod,lst} "$tree/boot/grub/x86_64-efi/"
mmd -i "$esp" ::/EFI ::/EFI/BOOT
mcopy -i "$esp" "$tree/tmp/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
rm "$tree/tmp/BOOTX64.EFI" "$tree/tmp/load.cfg"
sed -i "s,root=$root,root=/dev/sda2,g" "$tree/boot/grub/grub.cfg"
grep -q 'root=/dev/sda2 ' "$tree/boot/grub/grub.cfg"
fstrim "$tree"
