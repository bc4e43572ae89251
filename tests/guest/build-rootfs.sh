#!/usr/bin/env bash
# build-rootfs.sh DIR HOSTNAME FSTAB GRUB_PACKAGE: fills DIR, an empty file system, with Debian 12
# as an installer on VMware would have left it: /dev/sda in fstab, ens192 as its network card,
# open-vm-tools, and the agent for KVM as on a guest that was made ready to move. Its console is
# the first serial port, root's password is "guest".
set -euo pipefail

readonly SUITE=bookworm
dir=$1 hostname=$2 fstab=$3 grub=$4

# Packages come from where this machine's own do; else mmdebstrap knows where Debian lives.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | head -n 1)

packages=systemd-sysv,udev,dbus,kmod,iproute2,ifupdown,isc-dhcp-client,e2fsprogs,login,passwd
packages+=,initramfs-tools,linux-image-cloud-amd64,lvm2,open-vm-tools,qemu-guest-agent,$grub

# fstab is written before the kernel is installed: the initramfs includes the fsck of the file systems
# named there. So is the list of its drivers, for VMware's controllers and for KVM's: an emulated
# processor takes twice as long to load and to pack an initramfs with all drivers.
drivers='ata_piix ahci sd_mod sr_mod mptspi mptsas vmw_pvscsi nvme virtio_pci virtio_blk virtio_scsi virtio_net ext4'
# A small guest that is quickly unpacked: no documentation, no translations, no fsync.
mmdebstrap --variant=minbase --mode=root --include="$packages" \
  --essential-hook="printf '%s\n' '$fstab' >\"\$1/etc/fstab\"" \
  --essential-hook="mkdir -p \"\$1/etc/initramfs-tools/conf.d\" \"\$1/usr/share/initramfs-tools/modules.d\"" \
  --essential-hook="echo MODULES=list >\"\$1/etc/initramfs-tools/conf.d/modules\"" \
  --essential-hook="printf '%s\n' $drivers >\"\$1/usr/share/initramfs-tools/modules.d/guest\"" \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$SUITE" "$dir" ${mirror:+"$mirror"}

echo "$hostname" >"$dir/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$hostname" >"$dir/etc/hosts"
# The address stands above the login prompt (agetty(8)), so that whoever reads the console sees it.
printf 'ens192 has \\4{ens192}\n' >>"$dir/etc/issue"
cat >"$dir/etc/network/interfaces" <<END
source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback
auto ens192
iface ens192 inet dhcp
END
cat >"$dir/etc/default/grub" <<END
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200n8"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_DISABLE_LINUX_UUID=true
GRUB_DISABLE_OS_PROBER=true
END
# An emulated guest packs its initramfs anew in some tests, and takes its time for the last percent.
echo COMPRESSLEVEL=1 >"$dir/etc/initramfs-tools/conf.d/quick"
# Services and drivers that no test reads, and that take a third of an emulated boot.
idle='apt-daily.timer apt-daily-upgrade.timer blk-availability.service dev-hugepages.mount dev-mqueue.mount
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty-static.service
  getty@tty1.service lvm2-monitor.service modprobe@configfs.service modprobe@dm_mod.service
  modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
  proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount
  sys-kernel-debug.mount sys-kernel-tracing.mount systemd-binfmt.service systemd-logind.service
  systemd-pstore.service systemd-random-seed.service systemd-sysusers.service systemd-tmpfiles-clean.timer
  systemd-update-utmp-runlevel.service systemd-update-utmp.service'
for unit in $idle; do ln -s /dev/null "$dir/etc/systemd/system/$unit"; done
printf 'blacklist %s\n' aesni_intel bochs drm ghash_clmulni_intel kvm kvm_amd kvm_intel psmouse \
  sha512_ssse3 virtio_gpu >"$dir/etc/modprobe.d/idle.conf"
echo 'root:guest' | chroot "$dir" chpasswd
rm -f "$dir"/var/log/*.log
