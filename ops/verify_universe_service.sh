#!/usr/bin/env bash
# Verifies the universe service before it is deployed: compiles it, runs it for 5 s on a private Redis against the paper
# exchange, checks every key it wrote, runs its proof, and stops it. No other Redis is touched, whatever REDIS_* says.
#
# Usage: ops/verify_universe_service.sh [--seconds S]
#
#   --seconds S   how long it runs (5)
#
# Exit: 0 all of it is as it must be; 1 not, or it could not be tried.
# It needs the suite's .venv and redis-server.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options seconds=5 -- "$@"
need_number seconds 1 3600
operate verify_universe_service "--seconds=${OPTION[seconds]}"
