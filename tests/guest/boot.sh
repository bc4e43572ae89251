#!/usr/bin/env bash
# Boots a disk image in QEMU and waits for the login prompt on its serial port; the image stays as
# it is. For people: the tests do the same in tests/support/guest.rs.
#
#   tests/guest/boot.sh IMAGE FORMAT ide|virtio|pvscsi [bios|uefi] [SECONDS] [MAC]
#
# With a MAC address it has a virtio network card on QEMU's own network, and what it says of ens192
# is shown.
# Ends well when the prompt came. Software emulation only, so that it runs anywhere.
set -euo pipefail

[ $# -ge 3 ] || { echo "usage: ${0##*/} IMAGE FORMAT ide|virtio|pvscsi [bios|uefi] [SECONDS] [MAC]" >&2; exit 2; }
image=$1 format=$2 bus=$3 firmware=${4:-bios} seconds=${5:-180} mac=${6:-}
work=$(mktemp -d)
qemu=
cleanup() {
  if [ -n "$qemu" ]; then kill "$qemu" 2>/dev/null && wait "$qemu" 2>/dev/null; fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

args=(-accel tcg -m 768 -display none -monitor none -no-reboot
  -serial "file:$work/serial")
if [ -n "$mac" ]; then args+=(-nic "user,model=virtio-net-pci,mac=$mac"); else args+=(-net none); fi
case $bus in
  ide | virtio) args+=(-drive "file=$image,format=$format,if=$bus,snapshot=on") ;;
  pvscsi) args+=(-device pvscsi -drive "file=$image,format=$format,if=none,id=disk,snapshot=on" -device scsi-hd,drive=disk) ;;
  *) echo "unknown bus '$bus'" >&2; exit 2 ;;
esac
if [ "$firmware" = uefi ]; then
  cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars.fd"
  args+=(-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd
    -drive "if=pflash,format=raw,unit=1,file=$work/vars.fd")
fi
qemu-system-x86_64 "${args[@]}" 2>"$work/qemu" &
qemu=$!

verdict="no login prompt within $seconds s"
while [ $SECONDS -lt "$seconds" ]; do
  sleep 1
  if grep -aq 'login:' "$work/serial" 2>/dev/null; then
    echo "$image reached its login prompt after $SECONDS s ($bus, $firmware)"
    [ -z "$mac" ] || grep -ao 'ens192 has.*' "$work/serial" | tr -d '\r'
    exit 0
  fi
  if grep -aqE '\(initramfs\)|Kernel panic|grub rescue>' "$work/serial" 2>/dev/null; then verdict="stopped on its way"; break; fi
  kill -0 "$qemu" 2>/dev/null || { verdict="QEMU ended"; break; }
done
echo "$image: $verdict ($bus, $firmware); its last words:" >&2
tail -qn 15 "$work/serial" "$work/qemu" >&2
exit 1
