# Sourced by deb.sh and rpm.sh: what a package says of its release.

# Version, from Cargo.toml.
VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# Date of that version, from CHANGELOG.md: two builds of one release make the same package.
DATE=$(sed -n "s/^## $VERSION - \(....-..-..\)\$/\1/p" CHANGELOG.md)
[ -n "$VERSION" ] || { echo "Cargo.toml names no version" >&2; exit 1; }
[ -n "$DATE" ] || { echo "CHANGELOG.md has no release $VERSION with a date" >&2; exit 1; }
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(date --utc --date="$DATE" +%s)
# Who is named as the packager; the variables are those of Debian's own tools.
PACKAGER="${DEBFULLNAME:-The hyperexport contributors} <${DEBEMAIL:-packages@hyperexport.invalid}>"
SUMMARY="export VMs from VMware vSphere and import them into libvirt"
