#!/usr/bin/env bash
# Looks at this machine for everything that is known to go wrong, and says how to mend it. Changes nothing.
#
# Usage: ops/doctor.sh [--json]
#
# Exit: 0 well; 2 faults found, each with its fix; 1 cannot tell. It needs root, since settings and keys are root's.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

take_options json -- "$@"
[[ $(id -u) == 0 ]] || die "it needs root: run it with sudo"
run_deploy doctor "${PASS_ON[@]}"
