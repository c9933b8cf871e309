#!/usr/bin/env bash
# Shows our ledger against the exchange's positions and, where asked, has the brain adopt the exchange's.
#
# Usage: ops/reconcile_position.sh --all | --symbol S [--adopt-exchange [--yes]]
#
#   --all             the whole account; adopting it is what a new account needs once
#   --symbol S        one symbol, after a drift that closed it to opens
#   --adopt-exchange  make the exchange's position ours: asks first, then waits until the brain has done it (60 s)
#   --yes             does not ask
#
# Exit: 0 shown, or adopted; 2 refused: a claim is open, the brain is not alive or knows no positions, or the answer
# was no; 1 cannot tell (no Redis, usage), or not adopted within 60 s.
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# Without --adopt-exchange it only reads. It needs the suite's .venv.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options all symbol= adopt-exchange yes -- "$@"
if [[ -n ${OPTION[all]:-} && -n ${OPTION[symbol]} || -z ${OPTION[all]:-}${OPTION[symbol]} ]]; then
  refuse_usage "one of --all and --symbol is needed"
fi
[[ -z ${OPTION[yes]:-} || -n ${OPTION[adopt-exchange]:-} ]] || refuse_usage "--yes belongs to --adopt-exchange"
# As the exchange writes symbols: no blank, no lower case; `all` is the request for the whole account.
[[ ${OPTION[symbol]} != *[[:space:][:cntrl:][:lower:]]* && ${#OPTION[symbol]} -le 64 ]] ||
  refuse_usage "--symbol=${OPTION[symbol]@Q} is no symbol"
operate reconcile_position "--symbol=${OPTION[symbol]}" ${OPTION[adopt-exchange]:+--adopt} ${OPTION[yes]:+--yes}
