#!/usr/bin/env bash
# Installs the system packages that hyperexport needs. The only place that does so.
#
#   scripts/setup.sh build   what compiling needs (a C compiler, pkg-config, libvirt headers)
#   scripts/setup.sh run     … and what running needs (libvirtd, QEMU, qemu-img, libguestfs, hyper2kvm)
#   scripts/setup.sh test    … and what the demo and the tests need (default)
#   scripts/setup.sh package what building and testing packages needs, besides build
#
# Run it again at will: it installs what is missing and nothing else.
set -euo pipefail

readonly HYPER2KVM_VERSION=0.2.1
# Where the private Python environment of hyper2kvm goes; cargo's target/ stays free of it.
readonly VENV=${HYPEREXPORT_VENV:-$(cd "$(dirname "$0")/.." && pwd)/.cache/hyper2kvm-venv}
goal=${1:-test}

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

case $goal in build | run | test | package) ;; *) die "unknown goal '$goal': build, run, test or package" ;; esac

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else die "'$*' needs root"; fi
}

# --- Debian and Ubuntu ---------------------------------------------------------------------

deb_build=(gcc g++ libc6-dev pkg-config libvirt-dev make)
deb_run=(libvirt-daemon-system libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils ovmf
  swtpm swtpm-tools dnsmasq-base iptables python3-guestfs libguestfs-tools python3-venv
  xfsprogs xorriso)
deb_test=(libvirt-clients libxml2-utils golang-go golang-github-vmware-govmomi-dev
  openssh-server openssh-client openssl mmdebstrap debian-archive-keyring fdisk mtools dosfstools
  e2fsprogs cpio curl time virt-v2v nbdkit libnbd-bin ntfs-3g libwin-hivex-perl python3
  mandoc zsh fish jq)
deb_package=(dpkg-dev lintian rpm mmdebstrap debian-archive-keyring qemu-utils)

deb_kernel() { # the kernel of the libguestfs appliance
  if [ "$ID" = ubuntu ]; then echo linux-image-virtual; else echo linux-image-cloud-amd64; fi
}

deb_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# A machine whose qemu-utils came from backports cannot take QEMU from the release itself
# (the packages conflict), so everything then comes from backports.
deb_target=()
deb_choose_release() {
  case $(dpkg-query -W -f='${Version}' qemu-utils 2>/dev/null) in *bpo*) ;; *) return 0 ;; esac
  deb_target=(-t "$VERSION_CODENAME-backports")
  local own=/etc/apt/sources.list.d/hyperexport-backports.sources stanza
  stanza=$("$(dirname "$0")/backports.sh" "$VERSION_CODENAME") ||
    die "no package source for $VERSION_CODENAME found: add $VERSION_CODENAME-backports yourself"
  if [ -z "$stanza" ]; then
    # A source of the user's own has the suite: a second one of ours could only disagree with it.
    [ ! -e "$own" ] || as_root rm "$own"
  elif [ "$stanza" != "$(cat "$own" 2>/dev/null)" ]; then
    say "qemu-utils comes from backports: adding that suite to the package sources"
    as_root tee "$own" <<<"$stanza" >/dev/null
  fi
}

install_debian() {
  local want=("${deb_build[@]}") missing=()
  case $goal in
    build) ;;
    package) want+=("${deb_package[@]}") ;;
    *) want+=("${deb_run[@]}" "$(deb_kernel)") ;;
  esac
  [ "$goal" != test ] || want+=("${deb_test[@]}")
  for p in "${want[@]}"; do deb_installed "$p" || missing+=("$p"); done
  if [ ${#missing[@]} = 0 ]; then
    say "all ${#want[@]} packages are there"
  else
    deb_choose_release
    deb_update
    deb_install "${missing[@]}"
  fi
  [ "$goal" != test ] || deb_install_backends
}

deb_update() {
  # A third party's broken package source must not stop the set-up; a missing package will.
  as_root apt-get -q update || say "some package sources did not answer; going on"
}

deb_install() {
  say "installing: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
    --no-install-recommends "${deb_target[@]}" install "$@"
}

# libvirt's pools over LVM and ZFS: packages of their own, that of LVM since libvirt 10.
deb_install_backends() {
  local kind missing=()
  for kind in logical zfs; do
    ls "/usr/lib/"*"/libvirt/storage-backend/libvirt_storage_backend_$kind.so" >/dev/null 2>&1 ||
      missing+=("libvirt-daemon-driver-storage-$kind")
  done
  [ ${#missing[@]} != 0 ] || return 0
  deb_choose_release
  deb_update
  deb_install "${missing[@]}"
}

# --- Fedora and RHEL -----------------------------------------------------------------------

rpm_build=(gcc gcc-c++ pkgconf-pkg-config libvirt-devel make)
rpm_run=(libvirt-daemon-kvm qemu-kvm qemu-img edk2-ovmf swtpm swtpm-tools python3-libguestfs
  guestfs-tools xfsprogs xorriso)
rpm_test=(libvirt-client libxml2 golang openssh-server openssh-clients openssl util-linux
  mtools dosfstools e2fsprogs cpio curl time virt-v2v nbdkit libnbd ntfs-3g ntfsprogs perl-hivex
  mandoc zsh fish jq)
rpm_package=(dpkg-dev rpm-build)

install_fedora() {
  local want=("${rpm_build[@]}") missing=()
  case $goal in
    build) ;;
    package) want+=("${rpm_package[@]}") ;;
    *) want+=("${rpm_run[@]}") ;;
  esac
  [ "$goal" != test ] || want+=("${rpm_test[@]}")
  for p in "${want[@]}"; do rpm -q "$p" >/dev/null 2>&1 || missing+=("$p"); done
  if [ ${#missing[@]} = 0 ]; then say "all ${#want[@]} packages are there"; return 0; fi
  say "installing: ${missing[*]}"
  as_root dnf -y install "${missing[@]}"
  [ "$goal" != test ] || say "the simulator and the demo guest need govmomi's and mmdebstrap's Debian packages: run the tests on Debian or Ubuntu"
}

# --- hyper2kvm -----------------------------------------------------------------------------

# Root may run it: nothing is installed but what hyper2kvm.txt has the SHA-256 of. libguestfs' Python
# binding is the system's.
install_hyper2kvm() {
  local version
  version=$("$VENV/bin/python" -c 'import importlib.metadata as m, guestfs, hyper2kvm; print(m.version("hyper2kvm"))' 2>/dev/null || true)
  if [ "$version" = "$HYPER2KVM_VERSION" ]; then say "hyper2kvm $version is there: $VENV/bin/hyper2kvm"; return 0; fi
  say "installing hyper2kvm $HYPER2KVM_VERSION into $VENV"
  [ ! -e "$VENV" ] || [ -e "$VENV/pyvenv.cfg" ] || die "$VENV is no Python environment: move it away"
  rm -rf "$VENV"
  mkdir -p "$(dirname "$VENV")"
  /usr/bin/python3 -m venv --system-site-packages "$VENV"
  "$VENV/bin/pip" install --quiet --require-hashes --only-binary :all: -r "$(dirname "$0")/hyper2kvm.txt"
}

[ -r /etc/os-release ] || die "no /etc/os-release: this is no system that this script knows"
. /etc/os-release
case " $ID ${ID_LIKE:-} " in
  *" debian "* | *" ubuntu "*) install_debian ;;
  *" fedora "* | *" rhel "* | *" centos "*) install_fedora ;;
  *) die "unknown system '$ID': Debian, Ubuntu, Fedora and RHEL are known; the lists in this script say what is needed" ;;
esac
case $goal in run | test) install_hyper2kvm ;; esac
say "ready ($goal)"
