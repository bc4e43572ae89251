#!/usr/bin/env bash
# deb.sh BINARY [DIR]: makes hyperexport_VERSION-1_ARCH.deb in DIR (target/packages) of a built program, and
# checks the package with lintian. Needs dpkg-dev and lintian (scripts/setup.sh package).
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1 packages=${2:-target/packages}
. packaging/release.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/debian/hyperexport doc=$work/debian/hyperexport/usr/share/doc/hyperexport
# mktemp's folder is private, a package's is not.
install -d -m 0755 "$root" "$root/DEBIAN" "$doc"
scripts/install.sh "$binary" "$root/usr" share/zsh/vendor-completions
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/hyperexport"

# --- documents --------------------------------------------------------------------------------
install -m 0644 packaging/copyright "$doc/copyright"
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
gzip -9nc >"$doc/changelog.Debian.gz" <<END
hyperexport ($VERSION-1) unstable; urgency=medium

  * Release $VERSION: changelog.gz lists the changes.

 -- $PACKAGER  $(date --utc --rfc-email --date="$DATE")
END
install -m 0644 README.md SECURITY.md "$doc"
find docs -type f -exec install -D -m 0644 {} "$doc/{}" \;
install -D -m 0644 packaging/lintian-overrides "$root/usr/share/lintian/overrides/hyperexport"
chmod 0644 "$doc"/*.gz

# --- control ----------------------------------------------------------------------------------
# Libraries by what the program is linked with: libvirt0, libc6, libgcc-s1.
printf 'Source: hyperexport\n\nPackage: hyperexport\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O debian/hyperexport/usr/bin/hyperexport | sed -n 's/^shlibs:Depends=//p')
[ -n "$libraries" ] || { echo "dpkg-shlibdeps found no library" >&2; exit 1; }
architecture=$(dpkg --print-architecture)
cat >"$root/DEBIAN/control" <<END
Package: hyperexport
Version: $VERSION-1
Architecture: $architecture
Maintainer: $PACKAGER
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
Section: admin
Priority: optional
Depends: $libraries, qemu-utils, libguestfs-tools
Recommends: libvirt-daemon-system, qemu-system-x86, ovmf, swtpm-tools, virt-v2v, xorriso, ca-certificates
Description: $SUMMARY
$(sed -e 's/^$/./' -e 's/^/ /' packaging/description)
END
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 0644 "$root"/DEBIAN/*

mkdir -p "$packages"
package=$packages/hyperexport_$VERSION-1_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
# Root reads packages of its own making here.
lintian --allow-root --fail-on error,warning --display-level '>=info' --tag-display-limit 0 "$package"
echo "$package"
