#!/usr/bin/env bash
# Proves that the position-state brain (P3.3) permits by the universe: its service, what the universe service says of
# the list, the tier in use (told by metrics, else journal, else status hash), what that means for BTCUSDT and a random
# symbol of the list, the last permit events, and whether it is fail-closed.
#
# Usage: ops/proof_p33_universe.sh [--symbol S] [--max-age S] [--metrics-port N] [--no-unit] [--wait S] [--json]
#                                  [--remote [--host U@H] [--key FILE]]
#
#   --symbol S        this symbol beside BTCUSDT, instead of a random one
#   --max-age S       how old the list may be, seconds (300)
#   --metrics-port N  of the brain, on 127.0.0.1 (P33_METRICS_PORT, else 8045); 0 where it serves none
#   --no-unit         it does not run as a unit here: judge it by heartbeat and metrics alone
#   --wait S          look again until it is proven, at most S seconds (0)
#   --json            one JSON document instead of text
#   --remote          on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 proven; 2 degraded (last_ok, env, a stale list, a brain that hangs or gives no metrics, what contradicts
# itself); 3 fail-closed (no list, or no brain was ever here); 1 cannot tell (no Redis, brain dead, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_service_options "${P33_METRICS_PORT:-8045}" symbol= max-age=300 -- "$@"
need_number max-age 1 999999999
connect_redis
judge p33-universe "${OF_SERVICE[@]}" "--symbol=${OPTION[symbol]}" "--max-age=${OPTION[max-age]}"
