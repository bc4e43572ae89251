#!/usr/bin/env bash
# mkdisk-luks.sh RAW BASE: the system of BASE, a disk of mkdisk-bios.sh, with its root on LUKS (the
# passphrase is "secret") and a clear /boot. It is made to be read, and not to boot.
#
# LUKS is opened in the appliance of libguestfs: not every kernel has device-mapper.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1 base=$2
readonly START=2048 # sectors of 512 bytes, as in mkdisk-bios.sh
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg

tar=$raw.tar
trap 'rm -f "$tar"; undo_devices' EXIT
attach "$base" --offset $((START * 512)) --read-only
mount -o ro,noload "$loop" "$tree"
# What is encrypted in an emulated appliance takes its time.
tar -C "$tree" --one-file-system --numeric-owner --exclude=./usr/share --exclude=./usr/lib/firmware \
  --exclude=./var/cache --exclude=./var/lib/apt -cf "$tar" .

truncate -s 3G "$raw"
# The boot loader's program; what it would read lies on another partition than it thinks.
dd if="$base" of="$raw" bs=512 count=2048 conv=notrunc status=none
# A key that is cheap to derive: a costly one takes a minute where the appliance is emulated. Only
# libguestfs itself knows which disk is /dev/sda: to the appliance it may be the second one it found.
guestfish --keys-from-stdin --format=raw --add "$raw" <<END
add-drive $tar readonly:true format:raw
run
part-init /dev/sda mbr
part-add /dev/sda p 2048 528383
part-add /dev/sda p 528384 -1
debug sh "echo -n secret | cryptsetup --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 luksFormat /dev/sd?2 -"
cryptsetup-open /dev/sda2 root
secret
mkfs ext4 /dev/sda1
mkfs ext4 /dev/mapper/root
mount /dev/mapper/root /
mkdir /boot
mount /dev/sda1 /boot
debug sh "$UNPACK"
write /etc/fstab "/dev/mapper/sda2_crypt / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n"
write /etc/crypttab "sda2_crypt /dev/sda2 none luks\n"
umount-all
END
