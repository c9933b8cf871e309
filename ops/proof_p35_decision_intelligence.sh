#!/usr/bin/env bash
# Proves that decision intelligence (P3.5) counts: its service and heartbeat, its consumer group, how far behind it is,
# the buckets of the last minutes, and windows that are the sums of their buckets.
#
# Usage: ops/proof_p35_decision_intelligence.sh [--max-lag N] [--interval S] [--metrics-port N] [--no-unit] [--wait S]
#                                               [--json] [--remote [--host U@H] [--key FILE]]
#
#   --max-lag N       how many results may be unread (1000)
#   --interval S      between two snapshots of the windows (P35_SNAPSHOT_INTERVAL_SEC, else 60)
#   --metrics-port N  of the service, on 127.0.0.1 (P35_METRICS_PORT, else 8049); 0 where it serves none
#   --no-unit         it does not run as a unit here: judge it by heartbeat and metrics alone
#   --wait S          look again until it is proven, at most S seconds (0): just after its start the windows may lag
#   --json            one JSON document instead of text
#   --remote          on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 proven; 2 behind, stale, contradictory, without metrics, or the service hangs; 3 group, status or windows are
# missing or corrupt; 1 cannot tell (no Redis, service dead, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_service_options "${P35_METRICS_PORT:-8049}" max-lag=1000 "interval=${P35_SNAPSHOT_INTERVAL_SEC:-60}" -- "$@"
need_number max-lag 0 999999999
need_number interval 1 3600
connect_redis
judge decisions "${OF_SERVICE[@]}" "--max-lag=${OPTION[max-lag]}" "--interval=${OPTION[interval]}"
