#!/usr/bin/env bash
# test-deb.sh PACKAGE.deb: installs the package in a clean chroot of Debian (SUITE=bookworm) and uses it:
# hyperexport --version, doctor, the export of a small OVA. As root, for the chroot.
#
# All mounts are made in a mount namespace that ends with its last process, however that ends.
set -euo pipefail
package=$(realpath "$1")
readonly SUITE=${SUITE:-bookworm}

[ "$(id -u)" = 0 ] || { echo "test-deb: a chroot needs root" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root

# --- a clean Debian ---------------------------------------------------------------------------
# Packages come from where this machine's own do; else mmdebstrap knows where Debian lives.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | head -n 1)
# Its own dependencies alone: what is only recommended must not be needed.
mmdebstrap --variant=apt --mode=root --quiet --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt=force-unsafe-io "$SUITE" "$root" ${mirror:+"$mirror"}
cp "$package" "$root/root/hyperexport.deb"
# apt needs the network, for the dependencies.
cp /etc/resolv.conf "$root/etc/resolv.conf"

# --- a small OVA ------------------------------------------------------------------------------
# A disk of 8 MiB with some data, as vSphere writes it.
make_ova() {
  cd "$work"
  truncate -s 8M web01.raw
  printf 'the data of web01' | dd of=web01.raw bs=1 seek=1M conv=notrunc status=none
  qemu-img convert -q -f raw -O vmdk -o subformat=streamOptimized web01.raw web01-disk1.vmdk
  cat >web01.ovf <<END
<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
 <References><File ovf:id="file1" ovf:href="web01-disk1.vmdk"/></References>
 <DiskSection><Info>Disks</Info><Disk ovf:diskId="d1" ovf:fileRef="file1" ovf:capacity="8"
  ovf:capacityAllocationUnits="byte * 2^20"
  ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
 <VirtualSystem ovf:id="web01"><Info>A VM</Info><Name>web01</Name>
  <VirtualHardwareSection><Info>Hardware</Info>
   <Item><rasd:ElementName>cpu</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
    <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>memory</rasd:ElementName>
    <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
    <rasd:VirtualQuantity>256</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:ElementName>scsi</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
    <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk</rasd:ElementName>
    <rasd:HostResource>ovf:/disk/d1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
    <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
END
  tar --format=ustar -cf "$root/root/web01.ova" web01.ovf web01-disk1.vmdk
  cp web01.raw "$root/root/"
}
(make_ova)

# --- install and use --------------------------------------------------------------------------
cat >"$root/root/use.sh" <<'END'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
cd /root
{ apt-get -q update && apt-get -q -y --no-install-recommends install ./hyperexport.deb; } >apt.log 2>&1 ||
  { tail -n 20 apt.log; exit 1; }

say() { printf 'test-deb: %s\n' "$*"; }
for file in bin/hyperexport share/man/man1/hyperexport.1.gz share/man/man1/hyperexport-convert.1.gz \
  share/bash-completion/completions/hyperexport share/zsh/vendor-completions/_hyperexport \
  share/fish/vendor_completions.d/hyperexport.fish; do
  [ -s "/usr/$file" ] || { say "/usr/$file is missing"; exit 1; }
done
version=$(dpkg-query -W -f '${Version}' hyperexport)
[ "$(hyperexport --version)" = "hyperexport ${version%-*}" ]
say "installed: $(hyperexport --version)"

# No libvirtd runs here and none is needed for an export: doctor reports it and exits with 1.
code=0
hyperexport doctor --json >doctor.json || code=$?
[ "$code" = 0 ] || [ "$code" = 1 ] || { say "doctor exits with $code"; exit 1; }
# A tool that the package depends on is found; whether it can be confined is the kernel's matter.
for tool in qemu-img libguestfs; do
  health=$(grep -A3 "\"name\": \"$tool\"" doctor.json | sed -n 's/.*"health": "\(.*\)".*/\1/p')
  case $tool:$health in qemu-img:ok | qemu-img:warning | libguestfs:ok | libguestfs:warning) ;; *)
    cat doctor.json
    say "doctor reports $tool: ${health:-nothing}"
    exit 1
    ;;
  esac
done
say "doctor: exit code $code"

hyperexport --source web01.ova --output out --manifest
qemu-img compare -f vmdk -F raw out/disk-0.vmdk web01.raw
[ -s out/manifest.json ]
say "exported an OVA, the disk is identical"

apt-get -q -y purge hyperexport >>apt.log 2>&1
left=$(find /usr -name '*hyperexport*' || true)
[ -z "$left" ] || { say "a purge leaves $left"; exit 1; }
say "purged"
END
unshare --mount --propagation private --pid --fork --kill-child bash -euc '
  mount -t proc proc "$0/proc"
  mount --rbind /dev "$0/dev"
  mount -t sysfs -o ro sysfs "$0/sys"
  mount -t tmpfs tmpfs "$0/tmp"
  exec chroot "$0" bash /root/use.sh' "$root"
echo "test-deb: 1 passed, 0 failed"
