#!/usr/bin/env bash
# install.sh BINARY ROOT [ZSH_FUNCTIONS]: copies the program below ROOT (/usr/local), with the manual
# pages and completions that it generates. Compiles nothing: root may have no Rust.
#
# ZSH_FUNCTIONS, below ROOT, is where zsh looks for completions: share/zsh/site-functions, and on Debian
# share/zsh/vendor-completions for packages.
set -euo pipefail
binary=$1 root=$2 zsh=${3:-share/zsh/site-functions}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$binary" man --output "$work/man"
for shell in bash zsh fish; do "$binary" completions "$shell" >"$work/$shell"; done
gzip -9n "$work"/man/*

install -D -m 0755 "$binary" "$root/bin/hyperexport"
# Pages of verbs that an earlier version had.
rm -f "$root"/share/man/man1/hyperexport.1.gz "$root"/share/man/man1/hyperexport-*.1.gz
install -d -m 0755 "$root/share/man/man1"
install -m 0644 "$work"/man/* "$root/share/man/man1/"
install -D -m 0644 "$work/bash" "$root/share/bash-completion/completions/hyperexport"
install -D -m 0644 "$work/zsh" "$root/$zsh/_hyperexport"
install -D -m 0644 "$work/fish" "$root/share/fish/vendor_completions.d/hyperexport.fish"
