#!/usr/bin/env bash
# Builds a fixed appliance of libguestfs (libguestfs-make-fixed-appliance(1)) that starts faster where
# it is emulated: build-appliance.sh [OUT_DIR], .cache/guest/appliance by default. Its programs are
# those of the system. Of the rest it has what guests of the tests need: rules of udev for disks,
# lenses of Augeas for libguestfs, virt-v2v and virt-customize, drivers of its own disk.
#
# Tests that clear their environment start the appliance of the system.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../.cache/guest/appliance}
mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock 9
# Changed packages or kernels need another appliance.
packages=(/var/lib/dpkg/status /var/lib/rpm /usr/lib/sysimage/rpm)
stamp=$( (cat "$0"; stat -c %Y "${packages[@]}" || true; ls -l /boot) 2>/dev/null | sha256sum)
[ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

echo "guest: building the appliance of the tests" >&2
# Leftovers of a killed build: the lock shows that no other build runs.
rm -rf "$out".??????
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg \
  libguestfs-make-fixed-appliance "$work" >/dev/null

# keep FOLDER NAME...: removes the files of a folder that are not named.
keep() {
  local folder=$1 name
  shift
  debugfs -R "ls -p $folder" "$work/root" 2>/dev/null | cut -d / -f 6 | while read -r name; do
    case " . .. tests $* " in
      *" $name "*) ;;
      *) [ -z "$name" ] || echo "rm $folder/$name" ;;
    esac
  done >"$work/commands"
  debugfs -w -f "$work/commands" "$work/root" >/dev/null 2>&1
}

keep /usr/lib/udev/rules.d 01-md-raid-creating.rules 50-udev-default.rules 55-dm.rules \
  56-dm-parts.rules 56-lvm.rules 60-block.rules 60-persistent-storage-dm.rules \
  60-persistent-storage.rules 63-md-raid-arrays.rules 64-btrfs.rules 64-md-raid-assembly.rules \
  69-lvm.rules 80-drivers.rules 95-dm-notify.rules
keep /usr/share/augeas/lenses/dist build.aug fstab.aug grub.aug grubenv.aug hosts.aug inittab.aug \
  mdadm_conf.aug modprobe.aug modules.aug modules_conf.aug passwd.aug quote.aug rx.aug \
  securetty.aug sep.aug shellvars.aug shellvars_list.aug simplelines.aug simplevars.aug util.aug \
  xorg.aug

mkdir "$work/initrd.d"
(cd "$work/initrd.d" && cpio --quiet -id <"$work/initrd")
grep -vE 'ata|crc7|failover|nd_|nfit|nvdimm|vdpa|virtio[-_](balloon|input|iommu|mem|mmio|net|pmem|rng)' \
  "$work/initrd.d/modules" >"$work/modules"
mv "$work/modules" "$work/initrd.d/modules"
for driver in "$work/initrd.d"/*.ko; do
  grep -qx "${driver##*/}" "$work/initrd.d/modules" || rm "$driver"
done
(cd "$work/initrd.d" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc >"$work/initrd")
rm -r "$work/initrd.d" "$work/commands"

chmod 0755 "$work"
printf '%s\n' "$stamp" >"$work/stamp"
rm -rf "$out"
mv "$work" "$out"
