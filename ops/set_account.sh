#!/usr/bin/env bash
# Binds this Redis to the exchange account that the key pair belongs to (quantum:cfg:account). It never rebinds.
#
# Usage: ops/set_account.sh --mode testnet|mainnet|paper
#
#   --mode M      what the exchange is; the host must be one of that mode's
#
# Key pair: files BINANCE_API_KEY and BINANCE_API_SECRET in CREDENTIALS_DIRECTORY, else the variables of these names.
# Exchange: BINANCE_FUTURES_BASE_URL, else by mode. It is asked once, for the account's alias.
# Exit: 0 bound, or bound to the same before; 2 refused: bound to another account; 1 cannot tell (no Redis, no
# exchange, usage).
# Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE.
# It needs the suite's .venv.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options mode= -- "$@"
case ${OPTION[mode]} in
  testnet | mainnet | paper) ;;
  *) refuse_usage "--mode=${OPTION[mode]@Q}: allowed is testnet, mainnet or paper" ;;
esac
operate set_account "--mode=${OPTION[mode]}"
