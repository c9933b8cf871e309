#!/usr/bin/env bash
# Proves by which list the position-state brain (P3.3) permits now: universe, last_ok, env, or none (fail-closed).
# Its metrics say it; where they do not answer, its journal; else its status hash in Redis.
#
# Usage: ops/proof_p33_universe_source.sh [--metrics-port N] [--no-unit] [--wait S] [--json]
#                                         [--remote [--host U@H] [--key FILE]]
#
#   --metrics-port N  of the brain, on 127.0.0.1 (P33_METRICS_PORT, else 8045); 0 where it serves none
#   --no-unit         it does not run as a unit here: judge it by heartbeat and metrics alone
#   --wait S          look again until it is proven, at most S seconds (0)
#   --json            one JSON document instead of text
#   --remote          on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 the universe; 2 degraded (last_ok, env), or the brain hangs; 3 none: fail-closed; 1 cannot tell (no Redis,
# brain dead, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_service_options "${P33_METRICS_PORT:-8045}" -- "$@"
connect_redis
judge p33-source "${OF_SERVICE[@]}"
