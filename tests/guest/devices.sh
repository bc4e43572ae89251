# Sourced by the mkdisk scripts: loop devices and mounts that are undone on any exit.
# shellcheck shell=bash
#
# Partitions are reached by their offset, not as loopNp1: a kernel without partition tables makes
# no such nodes.

loops=()
tree=$(mktemp -d)

undo_devices() {
  set +e
  umount --recursive "$tree" 2>/dev/null
  for loop in "${loops[@]}"; do losetup --detach "$loop"; done
  rmdir "$tree"
}
trap undo_devices EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# attach FILE [losetup options]: makes the first free loop device from 40 on out of FILE, in
# $loop. Never one of a single digit, as GRUB's 10_linux takes those for a live system's disk.
attach() {
  local file=$1 number
  shift
  for number in {40..99}; do
    loop=/dev/loop$number
    # Another build may make the same node at the same time.
    [ -e "$loop" ] || mknod -m 660 "$loop" b 7 "$number" 2>/dev/null || [ -e "$loop" ]
    # Another build may have attached it in the meantime: losetup fails, and the next one is tried.
    if losetup "$@" "$loop" "$file" 2>/dev/null; then
      loops+=("$loop")
      return 0
    fi
  done
  echo "no loop device from 40 to 99 is free" >&2
  return 1
}

# enter_tree: what programs inside the tree need of the running system.
enter_tree() {
  for place in dev dev/pts proc sys; do mount --bind "/$place" "$tree/$place"; done
}

leave_tree() {
  for place in sys proc dev/pts dev; do umount "$tree/$place"; done
}

# For `debug sh` of libguestfs: unpacks the disk that is a tar file into what is mounted. `tar-in` would
# send each byte through the protocol, which takes minutes in an emulated appliance. Which disk is
# which only its content tells: the appliance may find them in another order.
# shellcheck disable=SC2034 # the scripts that source this one use it
readonly UNPACK='for disk in /dev/sd?; do if dd if=$disk bs=1 skip=257 count=5 2>/dev/null | grep -q ustar; then tar -C /sysroot --numeric-owner -xpf $disk; fi; done'
