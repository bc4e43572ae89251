#!/usr/bin/env bash
# mkdisk-places.sh RAW BASE: the disk BASE of mkdisk-bios.sh, whose fstab names devices by their
# places on VMware's buses, by VMware's serial numbers, and one that is gone. Two network cards have
# static addresses.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1 base=$2
readonly START=2048 # sectors of 512 bytes, as in mkdisk-bios.sh
# What tests/e2e/heavy/boots.rs gives the second disk as VMware's UUID.
readonly SECOND=6000c29d7a1e0f3c5b6a798812345678

cp --sparse=always "$base" "$raw"
attach "$raw" --offset $((START * 512))
mount "$loop" "$tree"
mkdir -p "$tree/data" "$tree/gone"
cat >"$tree/etc/fstab" <<END
/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1 / ext4 errors=remount-ro 0 1
/dev/disk/by-id/scsi-3$SECOND-part1 /data ext4 defaults 0 2
UUID=00000000-dead-4000-8000-000000000000 /gone ext4 defaults,x-systemd.device-timeout=2s 0 2
END
cat >"$tree/etc/network/interfaces" <<END
auto lo
iface lo inet loopback
auto ens192
iface ens192 inet static
    address 192.168.122.77/24
auto ens224
iface ens224 inet static
    address 192.168.122.78/24
END
printf 'ens224 has \\4{ens224}\n' >>"$tree/etc/issue"
# agetty reads /etc/issue.d too: whether the data disk is mounted stands above the prompt.
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
cat >"$tree/etc/systemd/system/tell-data.service" <<END
[Unit]
After=local-fs.target
Before=serial-getty@ttyS0.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir -p /etc/issue.d; echo "data on \$(findmnt -no TARGET /data)" >/etc/issue.d/data.issue'
END
ln -s ../tell-data.service "$tree/etc/systemd/system/multi-user.target.wants/tell-data.service"
