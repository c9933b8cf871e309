#!/usr/bin/env bash
# Proves that an order was placed: the newest result that was executed and has the exchange's order id.
#
# Usage: ops/proof_order_id.sh [--count N] [--symbol S] [--plan_id P] [--follow [--timeout S]] [--json]
#                              [--remote [--host U@H] [--key FILE]]
#
#   --count N     how many of the newest results are looked through (50)
#   --symbol S    only results of this symbol
#   --plan_id P   only the result of this plan
#   --follow      where there is none yet, wait for one, at most --timeout seconds (60)
#   --json        one JSON document instead of text
#   --remote      on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 found; 3 none; 1 cannot tell (no Redis, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options count=50 symbol= plan_id= follow timeout= -- "$@"
need_number count 1 100000
follow_s=0
if [[ -n ${OPTION[follow]:-} ]]; then
  OPTION[timeout]=${OPTION[timeout]:-60}
  need_number timeout 1 86400
  follow_s=${OPTION[timeout]}
elif [[ -n ${OPTION[timeout]} ]]; then
  refuse_usage "--timeout belongs to --follow"
fi
connect_redis
judge order "--count=${OPTION[count]}" "--symbol=${OPTION[symbol]}" "--plan-id=${OPTION[plan_id]}" "--follow-s=$follow_s"
