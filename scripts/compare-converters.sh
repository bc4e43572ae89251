#!/usr/bin/env bash
# The table of docs/converters.md: what native, hyper2kvm and virt-v2v make of the same guests. Each
# result is booted on virtio with its own MAC address; what its console then says counts.
#
#   scripts/compare-converters.sh [GUEST…]     (default: bios uuid uefi lvm; as root, half an hour)
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MAC=00:50:56:aa:bb:01 PATIENCE=240
readonly HYPER2KVM=$PWD/.cache/hyper2kvm-venv/bin/hyper2kvm
# The same for all: guests do not run on every machine's KVM.
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=${LIBGUESTFS_BACKEND_SETTINGS:-force_tcg}
work=$(mktemp -d /var/tmp/hyperexport-compare-XXXXXX)
trap 'rm -rf "$work"' EXIT

# A manifest that knows the guest's network card, as an export from vSphere leaves it.
describe() { # GUEST FIRMWARE
  target/release/hyperexport --source ".cache/guest/debian-$1.vmdk" --name guest --cpu 1 --memory 1024 \
    --firmware "$2" --output "$work/out" --manifest --quiet
  python3 - "$work/out/manifest.json" "$MAC" <<'END'
import json, sys
path, mac = sys.argv[1:]
with open(path) as file: manifest = json.load(file)
manifest["metadata"]["hyperexport"]["source_vm"]["nics"] = [
    {"id": "nic-0", "mac": mac, "model": "vmxnet", "network": "VM Network", "connected": True}]
with open(path, "w") as file: json.dump(manifest, file)
END
}

convert() { # CONVERTER GUEST FIRMWARE
  rm -rf "$work/out" && mkdir "$work/out"
  case $1 in
    virt-v2v) virt-v2v -i disk ".cache/guest/debian-$2.vmdk" -o local -os "$work/out" -of qcow2 -on guest &&
      mv "$work/out/guest-sda" "$work/out/guest.qcow2" ;;
    *)
      local how=(--converter "$1")
      [ "$1" != hyper2kvm ] || how+=(--hyper2kvm-path "$HYPER2KVM")
      describe "$2" "$3" &&
        target/release/hyperexport convert --manifest "$work/out/manifest.json" "${how[@]}" --strict --quiet
      ;;
  esac >"$work/log" 2>&1
}

# What of the guest differs, by the files that stand for it.
changes() { # GUEST
  virt-diff --format=raw -a ".cache/guest/debian-$1.raw" --format=qcow2 -A "$work/out/guest.qcow2" 2>/dev/null |
    awk '/^[-+=]/ { print $NF }' >"$work/changes"
  while IFS=: read -r pattern name; do
    if grep -qE "$pattern" "$work/changes"; then printf '%s\n' "$name"; fi
  done <<'END' | paste -sd ';' | sed 's/;/, /g'
^/etc/fstab$:fstab
^/boot/grub/grub.cfg$:grub.cfg
^/etc/default/grub$:default/grub
^/boot/grub/device.map$:device.map
^/etc/(initramfs-tools|modules):modules of the initramfs
^/boot/initrd:initramfs
^/etc/systemd/network/.*link$:names of interfaces
^/etc/network:network
/open-vm-tools:open-vm-tools removed
firstboot:a first boot script
END
}

printf '| guest | converter | time | boots on virtio | its network | what changed in /etc and /boot |\n|---|---|---|---|---|---|\n'
for guest in "${@:-bios uuid uefi lvm}"; do
  for guest in $guest; do
    tests/guest/build.sh "$guest" 2>/dev/null
    firmware=bios efi=bios
    [ "$guest" != uefi ] || firmware=uefi efi=efi
    for converter in native hyper2kvm virt-v2v; do
      began=$SECONDS boots=no network=none changed=
      if convert "$converter" "$guest" "$efi"; then
        took=$((SECONDS - began))
        if tests/guest/boot.sh "$work/out/guest.qcow2" qcow2 virtio "$firmware" $PATIENCE $MAC >"$work/boot" 2>&1; then
          boots="yes, $(grep -o 'after [0-9]* s' "$work/boot")"
          network=$(sed -n 's/^ens192 has //p' "$work/boot" | grep -E '[0-9]' || echo none)
        fi
        changed=$(changes "$guest")
      else
        took=$((SECONDS - began))
        boots="not converted: $(grep -aE 'error' "$work/log" | head -n 1 | cut -c 1-80)"
      fi
      printf '| %s | %s | %s s | %s | %s | %s |\n' "$guest" "$converter" "$took" "$boots" "$network" "$changed"
    done
  done
done
