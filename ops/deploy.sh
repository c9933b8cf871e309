#!/usr/bin/env bash
# Deploys the suite to this machine: builds a release, installs what is missing, switches, proves, and reverts by itself.
#
# Usage: ops/deploy.sh [--from DIR] [--services A,B] [--mode paper|testnet|mainnet] [--metrics] [--reset-account]
#                      [--guard-redis] [--wheels DIR] [--fresh] [--prove-within S] [--dry-run]
#
#   --from DIR        the checkout to deploy (default: the one this script lies in)
#   --services A,B    only these, by the name of their settings file (apply-layer, marketstate, …)
#   --mode M          what missing settings are filled for; default: what the installed ones say, else paper
#   --metrics         set the metrics ports that are off by default (universe service, market state)
#   --reset-account   give up the binding of this Redis to an exchange account, and bind it anew
#   --guard-redis     give this machine's Redis the project's configuration, and every service a login of its own
#   --wheels DIR      install Python packages from this folder of wheels, without a network
#   --fresh           install the packages anew, where those of the current release would serve as well
#   --prove-within S  how long the proofs may take to hold before all is put back (120)
#   --dry-run         look and say what would be done; change nothing
#
# Settings that are there already are never changed. Exit: 0 done and proven; 1 failed, and everything is as it was;
# 2 failed and not reverted. Redis: where /etc/quantum/position-state-brain.env says; the login of the environment
# (REDIS_USERNAME, REDIS_PASSWORD or REDIS_PASSWORD_FILE, REDISCLI_AUTH) where it has one, else the brain's.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options from= services= mode= wheels= prove-within=120 fresh metrics reset-account guard-redis dry-run -- "$@"
case ${OPTION[mode]} in
  '' | testnet | mainnet | paper) ;;
  *) refuse_usage "--mode=${OPTION[mode]@Q}: allowed is paper, testnet or mainnet" ;;
esac
need_number prove-within 1 3600
run_deploy deploy "${PASS_ON[@]}"
