#!/usr/bin/env bash
# Makes sure that qemu:///system answers and that the network "default" is up, with or without
# systemd; does nothing when both are so.
#
#   scripts/libvirtd.sh start   start what does not run
#   scripts/libvirtd.sh stop    end what `start` started on a machine without systemd, nothing else
set -euo pipefail

readonly URI=qemu:///system
readonly STATE=/run/hyperexport-libvirtd # pid files of daemons and the mark of a network that we started

say() { printf 'libvirtd: %s\n' "$*"; }
die() { printf 'libvirtd: error: %s\n' "$*" >&2; exit 1; }
answers() { timeout 20 virsh -q -c "$URI" version >/dev/null 2>&1; }

start_daemons() {
  if [ -d /run/systemd/system ]; then
    say "$URI does not answer: starting it by systemd"
    systemctl start libvirtd.socket 2>/dev/null ||
      systemctl start virtqemud.socket virtstoraged.socket virtnetworkd.socket
    return
  fi
  [ "$(id -u)" = 0 ] || die "$URI does not answer, and starting it takes root"
  say "$URI does not answer: starting virtlogd and libvirtd"
  mkdir -p "$STATE"
  own_kvm
  # Without the lock in their hands, which would be held for as long as they live. A virtlogd that
  # runs already refuses a second one: whether libvirt answers is what counts.
  virtlogd --daemon --pid-file "$STATE/virtlogd.pid" 9>&- 2>/dev/null || rm -f "$STATE/virtlogd.pid"
  libvirtd --daemon --pid-file "$STATE/libvirtd.pid" 9>&- || die "libvirtd does not start"
}

# What udev does where it runs (50-udev-default.rules): /dev/kvm is of the group kvm. Where QEMU's user
# cannot open the device, libvirt takes what it knows of QEMU for outdated, and probes QEMU again for
# seconds at every call (virQEMUCapsIsValid in qemu_capabilities.c).
own_kvm() {
  [ -e /dev/kvm ] && getent group kvm >/dev/null || return 0
  [ "$(stat -c %G /dev/kvm)" = kvm ] || chgrp kvm /dev/kvm || true
}

start_network() {
  virsh -q -c "$URI" net-info default >/dev/null 2>&1 ||
    virsh -q -c "$URI" net-define /usr/share/libvirt/networks/default.xml
  virsh -q -c "$URI" net-list --name | grep -qx default && return
  say "starting the network default"
  virsh -q -c "$URI" net-start default >/dev/null
  [ ! -d "$STATE" ] || touch "$STATE/network"
}

start() {
  # Tests start it from several processes at once (tests/support/libvirtd.rs).
  exec 9>"${TMPDIR:-/tmp}/hyperexport-test-libvirtd.lock"
  flock 9
  if ! answers; then
    start_daemons
    for _ in {1..150}; do answers && break; sleep 0.2; done
    answers || die "$URI still does not answer: see journalctl or /var/log/libvirt"
  fi
  start_network
}

stop() {
  [ -d "$STATE" ] || return 0
  if [ -n "$(virsh -q -c "$URI" list --name)" ]; then
    say "leaving it running: it has running domains"
    return
  fi
  [ ! -e "$STATE/network" ] || virsh -q -c "$URI" net-destroy default >/dev/null || true
  local pid
  for daemon in libvirtd virtlogd; do
    pid=$(cat "$STATE/$daemon.pid" 2>/dev/null || true)
    # A pid may have been given to another program since.
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$daemon" ]; then
      say "stopping $daemon"
      kill "$pid"
    fi
  done
  rm -rf "$STATE"
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *) echo "usage: ${0##*/} start|stop" >&2; exit 2 ;;
esac
