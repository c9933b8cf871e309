#!/usr/bin/env bash
# Says why a plan, or the newest plan of a symbol, did or did not trade: the plan, every gate's verdict with the figures
# it was made on and their age, the result, and the top reasons of the last hour; for as far back as the streams reach.
#
# Usage: ops/why.sh [--] SYMBOL|PLAN_ID [--json] [--remote [--host U@H] [--key FILE]]
#
#   --json        one JSON document instead of text
#   --remote      on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# A plan id that begins with a dash stands behind `--`. What is a plan id and a symbol is taken for the plan.
# Exit: 0 something is known; 3 nothing is known; 1 cannot tell (no Redis, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

if [[ ${1:-} == -- ]]; then
  shift
elif [[ ${1:-} == -* ]]; then
  take_options -- "$@"
  refuse_usage "the symbol or plan id comes first"
fi
what=${1:-}
[[ -n $what ]] || refuse_usage "whose? Name a symbol or a plan id"
((${#what} <= 512)) || refuse_usage "a symbol or plan id has at most 512 characters, this has ${#what}"
shift
PASS_ON=(-- "$what")
take_options -- "$@"
connect_redis
judge why "--what=$what"
