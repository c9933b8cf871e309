#!/usr/bin/env bash
# Verifies that market state is published: the publisher's service, every symbol's hash whole and fresh, the stream
# moving with them, and real prices behind them (source=candles).
#
# Usage: ops/verify_marketstate_metrics.sh [--symbols LIST] [--interval S] [--max-skipped PERCENT] [--metrics-port N]
#                                          [--no-unit] [--wait S] [--json] [--remote [--host U@H] [--key FILE]]
#
#   --symbols LIST    which must be there, comma-separated; without it, all that are there are looked at
#   --interval S      the publish interval (MARKETSTATE_PUBLISH_INTERVAL, else 60): fresh is younger than two of them
#   --max-skipped P   how many percent of the symbols may lack good candles, as new ones do (5)
#   --metrics-port N  of the publisher, on 127.0.0.1 (MARKETSTATE_METRICS_PORT, else 0: it serves none by default)
#   --no-unit         it does not run as a unit here: judge it by what it leaves in Redis alone
#   --wait S          look again until it is proven, at most S seconds (0)
#   --json            one JSON document instead of text
#   --remote          on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 proven; 2 stale, synthetic, too many skipped, or the publisher hangs; 3 missing, corrupt or of a wrong type;
# 1 cannot tell (no Redis, publisher dead, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_service_options "${MARKETSTATE_METRICS_PORT:-0}" symbols= \
  "interval=${MARKETSTATE_PUBLISH_INTERVAL:-60}" max-skipped=5 -- "$@"
need_number interval 1 86400
need_number max-skipped 0 100
connect_redis
judge market-state "${OF_SERVICE[@]}" "--symbols=${OPTION[symbols]}" \
  "--interval=${OPTION[interval]}" "--max-skipped=${OPTION[max-skipped]}"
