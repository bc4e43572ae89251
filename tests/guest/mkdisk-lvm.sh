#!/usr/bin/env bash
# mkdisk-lvm.sh RAW BASE: the system of BASE, a disk of mkdisk-bios.sh, on a GPT with /boot of its
# own and the root on LVM. networkd gives it a static address, LVM looks at the first disk of SCSI
# alone, and its initramfs has only the drivers of the machine that it was on.
#
# LVM is made in the appliance of libguestfs: not every kernel has device-mapper.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1 base=$2
readonly START=2048 # sectors of 512 bytes, as in mkdisk-bios.sh
readonly ADDRESS=192.168.122.77/24 GATEWAY=192.168.122.1
# A KVM that hangs would take the build along; the little that is done here needs none.
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg

copy=$raw.base
tar=$raw.tar
filter=$raw.lvm
trap 'rm -f "$copy" "$tar" "$filter"; undo_devices' EXIT
cp --sparse=always "$base" "$copy"
attach "$copy" --offset $((START * 512))
mount "$loop" "$tree"
printf '%s\n' '/dev/mapper/debian-root / ext4 errors=remount-ro 0 1' '/dev/sda2 /boot ext4 defaults 0 2' \
  '/dev/mapper/debian-swap none swap sw 0 0' >"$tree/etc/fstab"
sed -i '/^GRUB_DISABLE_LINUX_UUID/d' "$tree/etc/default/grub"
printf 'auto lo\niface lo inet loopback\n' >"$tree/etc/network/interfaces"
printf '[Match]\nName=ens192\n[Network]\nAddress=%s\nGateway=%s\n' "$ADDRESS" "$GATEWAY" \
  >"$tree/etc/systemd/network/wired.network"
rm "$tree/usr/share/initramfs-tools/modules.d/guest"
printf '%s\n' ata_piix ahci sd_mod mptspi vmw_pvscsi ext4 dm_mod >>"$tree/etc/initramfs-tools/modules"
enter_tree
chroot "$tree" systemctl enable systemd-networkd
chroot "$tree" update-initramfs -u -k all
if chroot "$tree" sh -c 'lsinitramfs /boot/initrd.img-*' | grep virtio_blk; then
  echo "its initramfs has drivers of KVM's" >&2
  exit 1
fi
leave_tree
tar -C "$tree" --one-file-system --numeric-owner -cf "$tar" .
# A filter by the names of VMware's disks; GRUB's installation would not find its way through it.
sed 's,^devices {,&\n\tglobal_filter = [ "a|^/dev/sda|"\, "r|.*|" ],' "$tree/etc/lvm/lvm.conf" >"$filter"

truncate -s 3G "$raw"
# Only libguestfs itself knows which disk is /dev/sda: to the appliance it may be the second one that
# it found, and the first one has no partitions.
seen=$(guestfish --format=raw --add "$raw" <<END
add-drive $tar readonly:true format:raw
run
part-init /dev/sda gpt
part-add /dev/sda p 2048 4095
part-set-gpt-type /dev/sda 1 21686148-6449-6E6F-744E-656564454649
part-add /dev/sda p 4096 528383
part-add /dev/sda p 528384 -2048
part-set-gpt-type /dev/sda 3 E6D6D379-F507-44C2-A23C-238F2A3DF928
pvcreate /dev/sda3
vgcreate debian /dev/sda3
lvcreate swap debian 128
lvcreate-free root debian 100
mkswap /dev/debian/swap
mkfs ext4 /dev/sda2
mkfs ext4 /dev/debian/root
mount /dev/debian/root /
mkdir /boot
mount /dev/sda2 /boot
debug sh "$UNPACK"
sh "grub-install --target=i386-pc --no-floppy --modules='biosdisk part_gpt ext2' \$(ls /dev/sd?3 | cut -c 1-8)"
sh "update-grub"
upload $filter /etc/lvm/lvm.conf
cat /boot/grub/grub.cfg
cat /etc/lvm/lvm.conf
END
)
grep 'root=/dev/mapper/debian-root ' <<<"$seen"
grep '^.global_filter = \[ "a|^/dev/sda|", "r|.\*|" \]' <<<"$seen"
