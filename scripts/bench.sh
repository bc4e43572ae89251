#!/usr/bin/env bash
# The export rows of `make bench`: one disk and four at a time against `curl` of the same content
# alone, and against `curl` and then `sha256sum`, from the same simulator in the same run; and an OVA
# against `tar`. What counts is the ratio, not the seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-common.sh

export_once() { # VM
  rm -rf "$work/export"
  measure target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
    --thumbprint "$thumbprint" --vm "$1" --output "$work/export" --parallel 4 --quiet
}

# The same streams over the same TLS: the simulator serves its VMDKs to a lease's addresses only, so
# the peer fetches them from a lease that stays open for it, all at once.
peer_once() { # alone|sum URL...
  rm -f "$work"/peer-*
  # shellcheck disable=SC2016
  measure bash -c 'sum=$1 to=$2; shift 2
    for one; do n=$((n + 1)); { curl -sk "$one" -o "$to-$n" && { [ "$sum" = alone ] || sha256sum "$to-$n"; }; } & done
    wait' - "$1" "$work/peer" "${@:2}"
}

take_ova() {
  rm -rf "$work/export"
  measure target/release/hyperexport --source "$work/ova/one.ova" --output "$work/export" --quiet
}

untar() { # alone|sum
  rm -rf "$work/untar" && mkdir "$work/untar"
  # shellcheck disable=SC2016
  measure bash -c 'cd "$1" && tar -xf "$2" && { [ "$3" = alone ] || { sync ./* &&
    sed -E "s/^SHA256\((.*)\)= (.*)$/\2  \1/" ./*.mf | sha256sum --quiet --check; }; }' - \
    "$work/untar" "$work/ova/one.ova" "$1"
}

make_disk
start_simulator
printf '| row | hyperexport | its CPU | its peak memory | peer | its CPU | its peak memory | ratio | ratio of CPU |\n'
printf '|---|---|---|---|---|---|---|---|---|\n'
for vm in one four; do
  mapfile -t urls < <(python3 tests/vcsim/lease_url.py "${url#https://}" bench vmware "$vm")
  versus "export of $vm: curl alone" "export_once $vm" "peer_once alone ${urls[*]}"
  versus "… curl, then sha256sum" "export_once $vm" "peer_once sum ${urls[*]}"
done
target/release/hyperexport --url "$url" --username bench --password-file "$work/password" \
  --thumbprint "$thumbprint" --vm one --output "$work/ova" --format ova --quiet
versus 'an OVA: tar' take_ova 'untar alone'
versus '… tar, sync, sha256sum' take_ova 'untar sum'
