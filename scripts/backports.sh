#!/usr/bin/env bash
# Prints the package source for a release's backports, like the source that the release itself comes
# from: its mirror, and its key. Two sources of one suite that name other keys stop apt, so the key must be
# the one that everybody takes who copies the line of the release.
#
#   scripts/backports.sh CODENAME [FOLDER]
#
# FOLDER is /etc/apt, or another like it. Prints nothing where another source has the backports already.
set -euo pipefail
codename=$1 etc=${2:-/etc/apt}
# The file that scripts/setup.sh writes, which does not count.
readonly OWN=hyperexport-backports.sources

# Reads sources in both formats (sources.list(5)), and prints a line for each suite of each that is
# enabled and has binary packages: suite, mirror, components, and the fields about trust, separated by the
# character with the number 31; line breaks in a field are characters with the number 30.
entries() {
  shopt -s nullglob
  local file
  for file in "$etc"/sources.list "$etc"/sources.list.d/*.list; do
    if [ -r "$file" ]; then one_line "$file"; fi
  done
  for file in "$etc"/sources.list.d/*.sources; do
    if [ "${file##*/}" != "$OWN" ] && [ -r "$file" ]; then deb822 "$file"; fi
  done
}

# deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror/debian bookworm main # comment
one_line() {
  awk '
    { sub(/#.*/, "") }
    $1 != "deb" { next }
    {
      line = $0; sub(/^[ \t]*deb[ \t]+/, "", line); trust = ""
      if (line ~ /^\[/) {
        options = line; sub(/\].*/, "", options); sub(/^\[/, "", options)
        sub(/^\[[^]]*\][ \t]*/, "", line)
        n = split(options, option, /[ \t]+/)
        for (i = 1; i <= n; i++) {
          at = index(option[i], "="); name = tolower(substr(option[i], 1, at - 1))
          value = substr(option[i], at + 1)
          if (name == "signed-by") trust = trust "Signed-By: " value "\036"
          if (name == "trusted") trust = trust "Trusted: " value "\036"
        }
      }
      if (line ~ /^cdrom:/) next
      n = split(line, word, /[ \t]+/); parts = ""
      for (i = 3; i <= n; i++) parts = parts " " word[i]
      print word[2] "\037" word[1] "\037" parts " \037" trust
    }' "$1"
}

# Stanzas of fields; a field goes on in lines that begin with a space, as an embedded key does.
deb822() {
  awk '
    function flush(   n, i, suite, uri, off) {
      off = tolower(field["enabled"]) ~ /^[ \t]*(no|false|without|off|disable|0)[ \t]*$/
      if (!off && (" " field["types"] " ") ~ /[ \t\036]deb[ \t\036]/) {
        split(field["uris"], uri, /[ \t\036]+/)
        parts = field["components"]; gsub(/[\t\036]/, " ", parts)
        n = split(field["suites"], suite, /[ \t\036]+/)
        for (i = 1; i <= n; i++) if (suite[i] != "") print suite[i] "\037" uri[uri[1] == "" ? 2 : 1] "\037 " parts " \037" trust
      }
      delete field; trust = ""; name = ""
    }
    /^#/ { next }
    /^[ \t]*$/ { flush(); next }
    /^[ \t]/ {
      if (name == "signed-by" || name == "trusted") trust = trust $0 "\036"
      field[name] = field[name] "\036" $0; next
    }
    {
      at = index($0, ":"); name = tolower(substr($0, 1, at - 1)); value = substr($0, at + 1)
      sub(/^[ \t]+/, "", value); field[name] = value
      if (name == "signed-by") trust = trust "Signed-By:" (value == "" ? "" : " " value) "\036"
      if (name == "trusted") trust = trust "Trusted: " value "\036"
    }
    END { flush() }' "$1"
}

all=$(entries)
if grep -q "^$codename-backports"$'\037' <<<"$all"; then exit 0; fi

# Others than Debian have suites of these names, too (Docker, HashiCorp). Only Debian's mirrors have that of
# the updates beside it; where none is in use, the component and the folder must do.
of_debian() {
  local entries uri
  entries=$(grep "^$1"$'\037' <<<"$all" || true)
  while IFS= read -r entry; do
    uri=${entry#*$'\037'} uri=${uri%%$'\037'*}
    if grep -qF "$1-updates"$'\037'"$uri"$'\037' <<<"$all"; then echo "$entry"; return; fi
  done <<<"$entries"
  grep -m 1 $'/debian/*\037[^\037]* main ' <<<"$entries" || true
}
for suite in "$codename" stable oldstable; do
  entry=$(of_debian "$suite")
  [ -z "$entry" ] || break
done
if [ -z "$entry" ]; then
  echo "no package source for $codename found" >&2
  exit 1
fi
IFS=$'\037' read -r _ uri _ trust <<<"$entry"
printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$uri" "$codename"
printf '%s' "$trust" | tr '\036' '\n'
