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
    [ -e "$loop" ] || mknod -m 660 "$loop" b 7 "$number"
    # Taken in between by someone else: losetup says so, and the next one is tried.
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
