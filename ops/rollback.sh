#!/usr/bin/env bash
# Lets a release that ran before run again: its code, its units; settings stay as they are.
#
# Usage: ops/rollback.sh [VERSION]
#
#   VERSION    a folder of /opt/quantum/releases (default: the release that ran before this one)
#
# Exit: 0 done and proven; 1 failed, and everything is as it was; 2 failed and not reverted.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

version=''
if (($#)) && [[ $1 != -* ]]; then
  version=$1
  shift
fi
take_options -- "$@"
[[ $version =~ ^[A-Za-z0-9._+-]*$ ]] || refuse_usage "${version@Q} is no version"
run_deploy rollback ${version:+"$version"}
