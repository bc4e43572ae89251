#!/usr/bin/env bash
# Migrates every VM of a vCenter or ESXi host that a filter selects. docs/many-vms.md explains it.
#
#   scripts/migrate-all.sh DIR [LOGIN and FILTER flags] [-- RUN flags]
#
#   scripts/migrate-all.sh ./moved --url vc.example.com --username me --password-file pw \
#     --folder /DC0/vm/Prod --name 'web*' -- --power-off --libvirt-pool vms --libvirt-autostart
#
# LOGIN flags go to `hyperexport list` and to each run, FILTER flags (--name, --folder, --power,
# --attribute, --tag) to `list` alone, RUN flags to each run. --pipeline and --libvirt are added unless
# you give them, --strict always.
#
#   DIR/NAME.MOREF/            the output directory of a VM
#   DIR/logs/NAME.MOREF.log    the messages of all runs of the VM
#   DIR/logs/NAME.MOREF.json   the result of its last run
#   DIR/summary.tsv            one line for each VM: exit code, outcome, domain, error
#
# Run the same command again to go on: VMs that are done are skipped, the others continue.
#
#   JOBS=N         VMs at a time (1)
#   HYPEREXPORT    the program (hyperexport)
#
# Exit codes: 0 all VMs are done, 1 some are not, 2 usage, 130 interrupted.
set -euo pipefail

readonly HYPEREXPORT=${HYPEREXPORT:-hyperexport}
readonly JOBS=${JOBS:-1}

say() { printf 'migrate-all: %s\n' "$*" >&2; }
die() { say "error: $1"; exit "${2:-1}"; }

usage() { die "usage: ${0##*/} DIR [LOGIN and FILTER flags] [-- RUN flags]" 2; }

login=() filter=() run=(--strict)

split_flags() {
  local part=list
  while [ $# -gt 0 ]; do
    case $part:$1 in
      list:--) part=run ;;
      list:--name | list:--folder | list:--power | list:--attribute | list:--tag)
        [ $# -gt 1 ] || die "$1 needs a value" 2
        filter+=("$1" "$2")
        shift
        ;;
      list:--name=* | list:--folder=* | list:--power=* | list:--attribute=* | list:--tag=*)
        filter+=("$1")
        ;;
      list:*) login+=("$1") ;;
      run:--strict | run:--json | run:--strict=* | run:--json=*)
        die "${1%%=*} is set by this script" 2
        ;;
      run:--vm | run:--output | run:--vm=* | run:--output=*)
        die "${1%%=*} is set by this script for each VM" 2
        ;;
      *) run+=("$1") ;;
    esac
    shift
  done
  case " ${login[*]} " in
    *' --password-file - '* | *' --password-file=- '*)
      die "--password-file - can be read once, and each run logs in: name a file" 2
      ;;
  esac
}

has() { # FLAG: whether the RUN flags contain it
  local flag
  for flag in "${run[@]}"; do
    case $flag in "$1" | "$1"=*) return 0 ;; esac
  done
  return 1
}

# A name without what a shell, a path or a terminal would trip over. The moref makes it unique.
safe() { printf '%s' "$1" | LC_ALL=C tr -c 'A-Za-z0-9._-' '_'; }

folder_of() { # NAME MOREF: the folder of an earlier run, also when the VM was renamed since
  local found
  for found in "$dir"/*."$2"; do
    [ -d "$found" ] && { printf '%s' "${found##*/}"; return; }
  done
  printf '%s.%s' "$(safe "$1")" "$2"
}

is_done() { # FOLDER: whether its last run, if that was no dry run, did all that was asked for
  jq -e '(.outcome == "done" or .outcome == "already-done") and (.plan // [] | length) == 0' \
    "$dir/logs/$1.json" >/dev/null 2>&1
}

# Running programs by their process ids: the folder, name and moref of the VM.
declare -A folders=() names=() morefs=()
interrupted=

# A session of its own: Ctrl-C at the terminal reaches this script alone, which passes it on once. A
# second signal would end hyperexport before it has cleaned up.
start() { # NAME MOREF
  local folder
  folder=$(folder_of "$1" "$2")
  printf '=== %s %s\n' "$(date -u +%FT%TZ)" "$1" >>"$dir/logs/$folder.log"
  setsid "$HYPEREXPORT" "${login[@]}" --vm "$2" --output "$dir/$folder" --json "${run[@]}" \
    </dev/null >"$dir/logs/$folder.part" 2>>"$dir/logs/$folder.log" 9>&- &
  folders[$!]=$folder names[$!]=$1 morefs[$!]=$2
  say "$1: started, log $dir/logs/$folder.log"
}

pass_on() {
  [ -z "$interrupted" ] || return 0
  interrupted=1
  say "interrupted: waiting until ${#folders[@]} runs have cleaned up"
  [ ${#folders[@]} = 0 ] || kill -TERM "${!folders[@]}" 2>/dev/null || true
}

finish() { # PID EXIT-CODE
  local folder=${folders[$1]} name=${names[$1]}
  local json=$dir/logs/$folder.json
  mv "$dir/logs/$folder.part" "$json"
  note "$name" "${morefs[$1]}" "$2" "$json"
  unset "folders[$1]" "names[$1]" "morefs[$1]"
}

note() { # NAME MOREF EXIT-CODE JSON: a line of the summary, also on the screen
  local line
  line=$(jq -r --arg name "$1" --arg moref "$2" --arg code "$3" '
    [ $name, $moref, $code, .outcome, (.domain.name // "-"),
      (.errors[0] // {} | if .code then "\(.code): \(.message)" else "-" end) ] | @tsv' \
    "$4" 2>/dev/null) || line=$(printf '%s\t%s\t%s\tfailed\t-\tno result: see the log' "$1" "$2" "$3")
  printf '%s\n' "$line" >>"$dir/summary.part"
  say "$(printf '%s' "$line" | tr '\t' ' ')"
}

wait_for_one() {
  local pid='' code=0
  wait -n -p pid "${!folders[@]}" || code=$?
  # A signal ends the wait and no program.
  [ -n "${pid:-}" ] || return 0
  finish "$pid" "$code"
}

[ $# -gt 0 ] || usage
case $1 in -*) usage ;; esac
command -v jq >/dev/null || die "jq is not installed"
[[ $JOBS =~ ^[1-9][0-9]*$ ]] || die "JOBS=$JOBS is not a number of VMs" 2
dir=$1
shift
split_flags "$@"
has --pipeline || run+=(--pipeline)
has --libvirt || run+=(--libvirt)

umask 077
mkdir -p "$dir/logs"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/.lock"
flock --nonblock 9 || die "another migration works in $dir"

list=$("$HYPEREXPORT" list "${login[@]}" "${filter[@]}" --json 9>&-) || die "the list of VMs failed"
mapfile -t vms < <(jq -r '.[] | [.moref, .name] | @tsv' <<<"$list")
[ ${#vms[@]} != 0 ] || die "no VM matches"
say "${#vms[@]} VMs, $JOBS at a time"

trap pass_on INT TERM HUP
: >"$dir/summary.part"
for vm in "${vms[@]}"; do
  IFS=$'\t' read -r moref name <<<"$vm"
  folder=$(folder_of "$name" "$moref")
  if is_done "$folder"; then
    note "$name" "$moref" 0 "$dir/logs/$folder.json"
    continue
  fi
  while [ ${#folders[@]} -ge "$JOBS" ]; do wait_for_one; done
  [ -z "$interrupted" ] || break
  start "$name" "$moref"
done
while [ ${#folders[@]} != 0 ]; do wait_for_one; done

{ printf 'name\tmoref\texit\toutcome\tdomain\terror\n'; cat "$dir/summary.part"; } >"$dir/summary.tsv"
rm "$dir/summary.part"
complete=$(awk -F '\t' 'NR > 1 && $3 == 0' "$dir/summary.tsv" | wc -l)
say "$complete of ${#vms[@]} VMs are done: $dir/summary.tsv"
[ -z "$interrupted" ] || exit 130
[ "$complete" = ${#vms[@]} ]
