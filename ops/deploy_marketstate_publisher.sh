#!/usr/bin/env bash
# Deploys the market-state publisher alone, as ops/deploy.sh does: the others run on as they are.
#
# Usage: ops/deploy_marketstate_publisher.sh [--from DIR] [--mode paper|testnet|mainnet] [--metrics] [--wheels DIR] [--fresh] [--prove-within S] [--dry-run]
#
# Options and exit codes are those of ops/deploy.sh (see its -h).
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options from= mode= wheels= prove-within=120 fresh metrics dry-run -- "$@"
need_number prove-within 1 3600
run_deploy deploy --services=marketstate "${PASS_ON[@]}"
