#!/usr/bin/env bash
# mkdisk-cloud.sh RAW BASE: the system of BASE, a disk of mkdisk-bios.sh, as a VM that was made from a
# template: cloud-init has set it up by VMware's data source, which KVM does not have, with a static
# address. dracut built its initramfs, and initramfs-tools is not there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/devices.sh"

raw=$1 base=$2
readonly START=2048 # sectors of 512 bytes, as in mkdisk-bios.sh
readonly INSTANCE=iid-vmware-3f9a1c

cp --sparse=always "$base" "$raw"
truncate -s 3G "$raw"
echo ', +' | sfdisk --quiet -N 1 "$raw"
attach "$raw" --offset $((START * 512))
e2fsck -fp "$loop" || [ $? = 1 ]
resize2fs "$loop"
mount "$loop" "$tree"

# The way to the packages is this machine's.
cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
cp -r /etc/apt/apt.conf.d/. "$tree/etc/apt/apt.conf.d/"
[ ! -e /etc/apt/apt.conf ] || cp /etc/apt/apt.conf "$tree/etc/apt/"
[ ! -d /etc/ssl/certs ] || { mkdir -p "$tree/etc/ssl" && cp -r /etc/ssl/certs "$tree/etc/ssl/"; }
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
chmod 755 "$tree/usr/sbin/policy-rc.d"
enter_tree
chroot "$tree" sh -ec '
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update
  apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io install cloud-init openssh-server dracut
  dpkg --purge initramfs-tools initramfs-tools-core || true
  apt-get clean
  rm -f /usr/sbin/policy-rc.d
  ssh-keygen -A
  kernel=$(ls /lib/modules)
  dracut --force --no-hostonly --compress "gzip -n -1" --add-drivers "vmw_pvscsi virtio_pci virtio_blk virtio_scsi sd_mod" \
    "/boot/initrd.img-$kernel" "$kernel"'
leave_tree
sed -i '/^GRUB_DISABLE_LINUX_UUID/d' "$tree/etc/default/grub"

printf 'auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n' >"$tree/etc/network/interfaces"
mkdir -p "$tree/etc/network/interfaces.d"
printf 'auto ens192\niface ens192 inet static\n    address 192.168.122.79/24\n' >"$tree/etc/network/interfaces.d/50-cloud-init"
printf 'datasource_list: [ VMware, None ]\n' >"$tree/etc/cloud/cloud.cfg.d/99-vmware.cfg"
cloud=$tree/var/lib/cloud
mkdir -p "$cloud/instances/$INSTANCE/sem" "$cloud/data" "$cloud/sem"
ln -s "/var/lib/cloud/instances/$INSTANCE" "$cloud/instance"
echo "$INSTANCE" >"$cloud/data/instance-id"
echo "$INSTANCE" >"$cloud/data/previous-instance-id"
echo 'DataSourceVMware: DataSourceVMware [seed=guestinfo]' |
  tee "$cloud/instances/$INSTANCE/datasource" >"$cloud/data/previous-datasource"
# What stands above the prompt: whether the SSH host key is the one from before.
sha256sum "$tree/etc/ssh/ssh_host_ed25519_key.pub" | cut -c 1-16 >"$tree/etc/ssh/key-before"
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
cat >"$tree/etc/systemd/system/tell-key.service" <<'END'
[Unit]
After=cloud-init.service
Before=serial-getty@ttyS0.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir -p /etc/issue.d; [ "$(sha256sum /etc/ssh/ssh_host_ed25519_key.pub | cut -c 1-16)" = "$(cat /etc/ssh/key-before)" ] && echo "host key kept" >/etc/issue.d/key.issue || echo "host key new" >/etc/issue.d/key.issue'
END
ln -s ../tell-key.service "$tree/etc/systemd/system/multi-user.target.wants/tell-key.service"
