#!/usr/bin/env bash
# redis-cli as the administrator of this machine's Redis, for what no other user may do: CONFIG SET, ACL LOAD,
# BGREWRITEAOF, REPLICAOF. For root, on the machine itself.
#
# Usage: ops/redis_admin.sh COMMAND [ARGUMENT…]
#
# Its password is made by ops/deploy.sh --guard-redis, in /etc/quantum/redis/admin. Exit: redis-cli's own; 1 where there
# is none, or this user may not read it.
set -euo pipefail
HERE_ONLY=1
# shellcheck source=ops/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

readonly PASSWORD=$LOGINS/admin
case ${1:-} in
  '') refuse_usage "a command is needed" ;;
  -h | --help) usage; exit 0 ;;
esac
[[ -r $PASSWORD ]] || die "$PASSWORD cannot be read: this Redis has no administrator here, or this is not root"
REDISCLI_AUTH=$(<"$PASSWORD")
export REDISCLI_AUTH
exec redis-cli --user admin -e "$@"
