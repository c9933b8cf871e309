#!/usr/bin/env bash
# Sets or shows the kill switch (quantum:kill_switch): what may be traded at all.
#
# Usage: ops/kill_switch.sh full-stop|exits-only|off|status [--yes]
#
#   full-stop     nothing is sent, exits neither
#   exits-only    positions may be closed, none opened
#   off           everything may be traded again: asks first
#   status        only shows
#   --yes         `off` does not ask
#
# Exit: 0 set, or shown; 1 cannot tell (no Redis, usage), or not confirmed.
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It needs nothing of the suite: it works where all else is broken.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

readonly KEY=quantum:kill_switch

# Prints what is in force, as the services read it: trimmed, lower-cased, absent stops opens, unknown stops all.
in_force() {
  local LC_ALL=C type raw value  # only ASCII is trimmed and lower-cased, as the services do it
  type=$(ask_redis TYPE "$KEY")
  case $type in
    none) echo "exits-only (the key is absent: no position is opened)"; return ;;
    string) ;;
    *) echo "full-stop (the key is a ${type@Q}, which stops everything)"; return ;;
  esac
  raw=$(ask_redis GET "$KEY")
  value=${raw#"${raw%%[![:space:]]*}"}
  value=${value%"${value##*[![:space:]]}"}
  case ${value,,} in
    off) echo "off (everything may be traded)" ;;
    no_new_risk) echo "exits-only (no position is opened)" ;;
    full_stop) echo "full-stop (nothing is sent)" ;;
    *) printf 'full-stop (the value is %s, which stops everything)\n' "${raw@Q}" | tr -d '\000-\011\013-\037' ;;
  esac
}

# Asks one thing; what Redis refuses ends the script. A NUL, which bash would drop without a word, stays a character.
ask_redis() {
  local said
  said=$(timeout "$REDIS_TIMEOUT_S" "${REDIS_CLI[@]}" -e "$@" 2>&1 | tr '\000' '\001') || die "Redis: $(first_line "$said")"
  printf '%s' "$said"
}

word=${1:-}
case $word in
  full-stop) value=full_stop ;;
  exits-only) value=no_new_risk ;;
  off) value=off ;;
  status) value='' ;;
  -h | --help) usage; exit 0 ;;
  *) refuse_usage "${word@Q} is not full-stop, exits-only, off or status" ;;
esac
shift
take_options yes -- "$@"
[[ -z ${OPTION[yes]:-} || $word == off ]] || refuse_usage "--yes belongs to off"
as_operator
connect_redis
before=$(in_force)
echo "kill switch: $before"
[[ -n $value ]] || exit 0
if [[ $word == off && -z ${OPTION[yes]:-} ]]; then
  answer=''
  read -rp 'Let everything trade again? Type yes: ' answer || true
  [[ $answer == yes ]] || die "not confirmed, nothing changed"
fi
# A plain SET: it also replaces a value of another type.
said=$(ask_redis SET "$KEY" "$value")
[[ $said == OK ]] || die "Redis did not take it: $(first_line "$said")"
after=$(in_force)
echo "kill switch now: $after"
TZ=UTC audit "kill switch from $before to $after"
