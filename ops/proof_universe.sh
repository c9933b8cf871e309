#!/usr/bin/env bash
# Proves that the universe is fresh: the list of tradeable symbols, its age, and that all that is said of it agrees.
#
# Usage: ops/proof_universe.sh [--max-age S] [--json] [--remote [--host U@H] [--key FILE]]
#
#   --max-age S   how old the list may be, seconds (300)
#   --json        one JSON document instead of text
#   --remote      on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 fresh; 2 stale or older than --max-age; 3 missing or invalid; 1 cannot tell (no Redis, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options max-age=300 -- "$@"
need_number max-age 1 999999999
connect_redis
judge universe "--max-age=${OPTION[max-age]}"
