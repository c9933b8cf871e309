#!/usr/bin/env bash
# Audits the three permit sources: the permits that stand, each gate's last decision, and its heartbeat. Permits live
# 60 s, so that a gate without one may just be idle: its heartbeat tells idle from broken.
#
# Usage: ops/permit_audit.sh [--gates LIST] [--sample N] [--json] [--remote [--host U@H] [--key FILE]]
#
#   --gates LIST  which must be there, comma-separated (governor,p26,p33); the others print `not installed`
#   --sample N    how many permits of each gate are shown (3)
#   --json        one JSON document instead of text
#   --remote      on another machine, over ssh: --host and --key, or QUANTUM_REMOTE_HOST and QUANTUM_REMOTE_KEY
#
# Exit: 0 all present, or idle with a heartbeat under 60 s; 2 one or more missing; 1 cannot tell (no Redis, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It only reads.
set -euo pipefail
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options gates=governor,p26,p33 sample=3 -- "$@"
need_number sample 0 1000
if ! [[ ,${OPTION[gates]}, =~ ^,((governor|p26|p33),)+$ ]]; then
  refuse_usage "--gates=${OPTION[gates]@Q}: allowed is a comma-separated list of governor, p26, p33"
fi
connect_redis
judge permits "--gates=${OPTION[gates]}" "--sample=${OPTION[sample]}"
