#!/usr/bin/env bash
# rpm.sh BINARY [DIR]: makes hyperexport-VERSION-1.ARCH.rpm in DIR (target/packages) of a built program.
# Needs rpmbuild (scripts/setup.sh package), which Debian has, too. The program is linked with the libraries
# of the machine that built it: build on the oldest system that shall install the package.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1 packages=${2:-target/packages}
. packaging/release.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
staged=$work/staged
scripts/install.sh "$binary" "$staged/usr"
strip --strip-unneeded "$staged/usr/bin/hyperexport"
install -D -m 0644 -t "$staged/usr/share/doc/hyperexport" README.md SECURITY.md CHANGELOG.md
find docs -type f -exec install -D -m 0644 {} "$staged/usr/share/doc/hyperexport/{}" \;
install -D -m 0644 -t "$staged/usr/share/licenses/hyperexport" LICENSE-MIT LICENSE-APACHE

rpmbuild -bb --quiet --define "_topdir $work/rpmbuild" \
  --define "hyperexport_version $VERSION" --define "hyperexport_summary $SUMMARY" \
  --define "hyperexport_packager $PACKAGER" --define "hyperexport_staged $staged" \
  --define "hyperexport_description $(cat packaging/description)" packaging/hyperexport.spec
mkdir -p "$packages"
for package in "$work"/rpmbuild/RPMS/*/*.rpm; do
  cp "$package" "$packages/"
  echo "$packages/${package##*/}"
done
