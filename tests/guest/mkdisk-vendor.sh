#!/usr/bin/env bash
# mkdisk-vendor.sh RAW BASE: the disk BASE of mkdisk-uefi.sh as grub-install leaves it by default: the
# boot loader lies in the folder of its vendor alone, and only boot variables name it. Its initramfs
# holds the drivers of VMware's controller and of virtio, and no others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1 base=$2
readonly ESP=2048 ROOT=133120 # sectors of 512 bytes, as in mkdisk-uefi.sh

cp --sparse=always "$base" "$raw"
esp=$raw@@$((ESP * 512))
loader=$raw.loader
trap 'rm -f "$loader"; undo_devices' EXIT
mcopy -i "$esp" ::/EFI/BOOT/BOOTX64.EFI "$loader"
mdeltree -i "$esp" ::/EFI/BOOT
mmd -i "$esp" ::/EFI/debian
mcopy -i "$esp" "$loader" ::/EFI/debian/grubx64.efi

attach "$raw" --offset $((ROOT * 512))
mount "$loop" "$tree"
rm "$tree/usr/share/initramfs-tools/modules.d/guest"
printf '%s\n' vmw_pvscsi sd_mod ext4 virtio_pci virtio_blk virtio_scsi >>"$tree/etc/initramfs-tools/modules"
enter_tree
chroot "$tree" update-initramfs -u -k all
if chroot "$tree" sh -c 'lsinitramfs /boot/initrd.img-*' | grep -E '/(ahci|ata_piix)\.ko'; then
  echo "its initramfs has drivers of ATA" >&2
  exit 1
fi
leave_tree
