# shellcheck shell=bash
# What every script here shares: options, the way to Redis, the way to another machine, exit codes. Sourced, not run.
#
# Exit codes, unless a script's own help says otherwise:
#   0 proven    1 cannot tell (no Redis, usage)    2 there but degraded or stale    3 missing, empty or fail-closed
# JSON is read and written by Python's standard library (judge.py); jq is neither needed nor used, so that a script
# does the same on every machine. No command is ever put together from data: keys, plan ids and values travel as
# single arguments or escaped byte by byte, and passwords in the environment alone.

readonly EXIT_CANNOT_TELL=1
readonly REDIS_TIMEOUT_S=5
OPS_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
readonly OPS_LIB

LOGINS=${QUANTUM_REDIS_LOGINS:-/etc/quantum/redis}
readonly LOGINS          # a password file per user, where a deploy has guarded this machine's Redis

declare -A OPTION=()     # the options' values by name, defaults included; a flag that was given is 1
declare -a PASS_ON=()    # what was given, without what only says where to run
declare -a OF_SERVICE=() # where a service's metrics are, whether its unit counts, how long to look; for `judge`
declare -a REDIS_CLI=()  # redis-cli with its options, once connect_redis has run
REDIS_PLACE=''           # for messages: host and port, or path; never a password

# Prints the calling script's own head comment.
usage() {
  sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "${BASH_SOURCE[-1]}"
}

# Ends the script: it cannot tell. With --json the reason is a document on standard output as well.
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  if [[ -n ${OPTION[json]:-} ]]; then
    judge cannot-tell "--why=$*" || true
  fi
  exit "$EXIT_CANNOT_TELL"
}

# Ends the script over its arguments: what is wrong and the usage, on standard error.
refuse_usage() {
  printf '%s: %s\n\n' "${0##*/}" "$*" >&2
  usage >&2
  exit "$EXIT_CANNOT_TELL"
}

# take_options SPEC… -- "$@"
# A SPEC `name` is a flag, `name=default` takes a value. -h is everybody's; --json, --remote, --host and --key are, but
# not where HERE_ONLY is set: what changes something is run on its own machine, by somebody who reads what it says.
take_options() {
  local -A flags=() values=()
  if [[ -z ${HERE_ONLY:-} ]]; then
    flags=([json]=1 [remote]=1) values=([host]=1 [key]=1)
  fi
  while [[ $1 != -- ]]; do
    if [[ $1 == *=* ]]; then
      values[${1%%=*}]=1
      OPTION[${1%%=*}]=${1#*=}
    else
      flags[$1]=1
    fi
    shift
  done
  shift
  local name given
  while (($#)); do
    [[ $1 == -h || $1 == --help ]] && { usage; exit 0; }
    [[ $1 =~ ^--([a-z][a-z_-]*)(=.*)?$ ]] || refuse_usage "unknown argument ${1@Q}"
    name=${BASH_REMATCH[1]}
    given=("$1")
    if [[ -n ${flags[$name]:-} && -z ${BASH_REMATCH[2]} ]]; then
      OPTION[$name]=1
    elif [[ -n ${values[$name]:-} && -n ${BASH_REMATCH[2]} ]]; then
      OPTION[$name]=${1#*=}
    elif [[ -n ${values[$name]:-} ]]; then
      (($# > 1)) || refuse_usage "--$name needs a value"
      OPTION[$name]=$2
      given+=("$2")
      shift
    else
      refuse_usage "unknown option ${1@Q}"
    fi
    [[ $name == remote || $name == host || $name == key ]] || PASS_ON+=("${given[@]}")
    shift
  done
  if [[ -n ${OPTION[remote]:-} ]]; then
    run_remotely
  fi
}

# take_service_options PORT SPEC… -- "$@"
# As take_options, for the proof of a service that shows its metrics on PORT; sets OF_SERVICE, what `judge` is to know.
take_service_options() {
  take_options "metrics-port=$1" no-unit wait=0 "${@:2}"
  need_number metrics-port 0 65535
  need_number wait 0 3600
  OF_SERVICE=("--metrics-port=${OPTION[metrics-port]}" "--wait=${OPTION[wait]}")
  if [[ -n ${OPTION[no-unit]:-} ]]; then
    OF_SERVICE+=(--no-unit)
  fi
}

# need_number NAME LEAST MOST: the option is a whole number between these.
need_number() {
  if ! [[ ${OPTION[$1]} =~ ^[0-9]{1,9}$ ]] || ((10#${OPTION[$1]} < $2 || 10#${OPTION[$1]} > $3)); then
    refuse_usage "--$1=${OPTION[$1]@Q}: allowed is a whole number, $2 to $3"
  fi
  OPTION[$1]=$((10#${OPTION[$1]}))
}

# Runs this script on another machine over one ssh session: it is sent there with its library, and ends with its code.
run_remotely() {
  local host=${OPTION[host]:-${QUANTUM_REMOTE_HOST:-}} key=${OPTION[key]:-${QUANTUM_REMOTE_KEY:-}} script code=0
  [[ -n $host ]] || die "--remote needs --host U@H, or QUANTUM_REMOTE_HOST"
  [[ $host =~ ^[A-Za-z0-9_][A-Za-z0-9_.@:-]*$ ]] || die "${host@Q} is not a host of the form U@H"
  [[ -z $key || -r $key ]] || die "the key ${key@Q} cannot be read"
  script=$(basename "${BASH_SOURCE[-1]}")
  SENT=$(mktemp -d)
  trap 'rm -rf "$SENT"' EXIT
  # Quoted by bash for bash, and carried as a file: the remote command itself is the same for all.
  # shellcheck disable=SC2016 # it is the other side that expands it
  printf 'exec bash "${0%%/*}"/ops/%q' "$script" >"$SENT/run"
  if ((${#PASS_ON[@]})); then
    printf ' %q' "${PASS_ON[@]}" >>"$SENT/run"
  fi
  tar -czf "$SENT/sent.tar.gz" --exclude=__pycache__ -C "$OPS_LIB/../.." ops/__init__.py ops/lib "ops/$script" -C "$SENT" run
  # shellcheck disable=SC2016 # it is the other side that expands it
  ssh -T -o StrictHostKeyChecking=yes -o ConnectTimeout=10 ${key:+-i "$key"} -- "$host" \
    'd=$(mktemp -d) && trap "rm -rf $d" EXIT && tar -xzf - -C "$d" && bash -l "$d/run"' <"$SENT/sent.tar.gz" || code=$?
  if ((code == 255)); then
    die "ssh to $host failed"
  fi
  exit "$code"
}

# as_operator: logs in as `operator` where nobody is named, and this machine's own Redis is meant and guarded: what changes
# something must not come as `reader`, who can only read.
as_operator() {
  if is_machines_own && [[ -r $LOGINS/operator ]]; then
    export REDIS_USERNAME=operator REDIS_PASSWORD_FILE=$LOGINS/operator
  fi
}

# Whether the environment says nothing of its own about Redis but perhaps the shell's password.
is_machines_own() {
  [[ -z ${REDIS_URL:-}${REDIS_USERNAME:-}${REDIS_PASSWORD:-}${REDIS_PASSWORD_FILE:-} ]] &&
    [[ ${REDIS_HOST:-127.0.0.1}:${REDIS_PORT:-6379} == 127.0.0.1:6379 ]]
}

# Finds Redis as every service does: REDIS_URL, else REDIS_HOST, REDIS_PORT and REDIS_DB; REDIS_USERNAME;
# REDIS_PASSWORD, else REDIS_PASSWORD_FILE, else on a machine whose Redis a deploy has guarded `reader` with its password,
# else the REDISCLI_AUTH that is there. Ends the script where it is not there.
connect_redis() {
  local version said username=${REDIS_USERNAME:-} password=''
  if is_machines_own && [[ -r $LOGINS/reader ]]; then
    username=reader password=$(<"$LOGINS/reader")
  fi
  command -v redis-cli >/dev/null || die "redis-cli is not installed (Debian: redis-tools)"
  command -v python3 >/dev/null || die "python3 is not installed"
  version=$(redis-cli --version)
  if ! [[ $version =~ ^redis-cli\ ([0-9]+)\. ]] || ((BASH_REMATCH[1] < 7)); then
    die "redis-cli 7.0 or newer is needed, this is $(first_line "$version")"
  fi
  REDIS_CLI=(redis-cli)
  if [[ -n ${REDIS_URL:-} ]]; then
    place_of_url "$REDIS_URL"
  else
    place_of_host "${REDIS_HOST:-127.0.0.1}" "${REDIS_PORT:-6379}" "${REDIS_DB:-0}"
  fi
  if [[ -z $password && -n ${REDIS_PASSWORD:-} ]]; then
    password=$REDIS_PASSWORD
  elif [[ -z $password && -n ${REDIS_PASSWORD_FILE:-} ]]; then
    [[ -r $REDIS_PASSWORD_FILE ]] || die "REDIS_PASSWORD_FILE ${REDIS_PASSWORD_FILE@Q} cannot be read"
    password=$(tr -d '\r' <"$REDIS_PASSWORD_FILE")
  fi
  if [[ -n $password ]]; then
    export REDISCLI_AUTH=$password
  fi
  if [[ -n $username ]]; then
    REDIS_CLI+=(--user "$username")
  fi
  said=$(timeout "$REDIS_TIMEOUT_S" "${REDIS_CLI[@]}" PING 2>&1) || true
  [[ $said == PONG ]] || die "no Redis at $REDIS_PLACE: $(first_line "${said:-no answer within $REDIS_TIMEOUT_S s}")"
}

place_of_host() {
  [[ $2 =~ ^[0-9]{1,5}$ ]] || die "REDIS_PORT=${2@Q}: allowed is a port"
  [[ $3 =~ ^[0-9]{1,7}$ ]] || die "REDIS_DB=${3@Q}: allowed is a number"
  REDIS_CLI+=(-h "$1" -p "$2" -n "$3")
  REDIS_PLACE=$1:$2
}

# Takes a URL apart into redis-cli's options, and sets connect_redis's username and password: with redis-cli's own -u
# the password would stand among the arguments for all to see.
place_of_url() {
  local tcp='^(redis|rediss)://(([^/]*)@)?(\[[0-9a-fA-F:]+\]|[^]:/?@[]+)(:([0-9]{1,5}))?(/([0-9]*))?(\?(.*))?$'
  local unix='^unix://(([^/]*)@)?(/[^?]*)(\?(.*))?$'
  local sentinels='^redis\+sentinel://(([^/]*)@)?([^/@?]+)/([^/?]+)(/([0-9]*))?(\?(.*))?$'
  local allowed='redis://host:port/db, rediss://host:port/db or unix:///path?db=0, or redis+sentinel://host:port,host:port/service/db'
  local login='' query=''
  if [[ $1 =~ $tcp ]]; then
    login=${BASH_REMATCH[3]} query=${BASH_REMATCH[10]}
    [[ ${BASH_REMATCH[1]} == redis ]] || REDIS_CLI+=(--tls)
    local host=${BASH_REMATCH[4]#\[}
    place_of_host "${host%\]}" "${BASH_REMATCH[6]:-6379}" "${BASH_REMATCH[8]:-0}"
  elif [[ $1 =~ $sentinels ]]; then
    login=${BASH_REMATCH[2]} query=${BASH_REMATCH[8]}
    place_of_primary "${BASH_REMATCH[3]}" "$(unquoted "${BASH_REMATCH[4]}")" "${BASH_REMATCH[6]:-0}"
  elif [[ $1 =~ $unix ]]; then
    login=${BASH_REMATCH[2]} query=${BASH_REMATCH[5]}
    REDIS_PLACE=$(unquoted "${BASH_REMATCH[3]}")
    REDIS_CLI+=(-s "$REDIS_PLACE")
  else
    die "REDIS_URL is none of $allowed"
  fi
  options_of_query "$query" || die "REDIS_URL is none of $allowed; after ? only db, ssl_ca_certs, ssl_certfile, ssl_keyfile"
  if [[ -n $login ]]; then
    username=$(unquoted "${login%%:*}")
    [[ $login != *:* ]] || password=$(unquoted "${login#*:}")
  fi
}

# place_of_primary HOST:PORT,… SERVICE DB: asks the sentinels in turn where the primary is; user and password are for it,
# and none of theirs.
place_of_primary() {
  local each said
  local -a addresses=() found=()
  IFS=, read -r -a addresses <<<"$1"
  for each in "${addresses[@]}"; do
    [[ $each =~ ^([^:]+)(:([0-9]{1,5}))?$ ]] || die "REDIS_URL: ${each@Q} is no host:port of a sentinel"
    said=$(env -u REDISCLI_AUTH timeout 2 redis-cli -h "${BASH_REMATCH[1]}" -p "${BASH_REMATCH[3]:-26379}" \
      SENTINEL get-master-addr-by-name "$2" 2>/dev/null) || continue
    mapfile -t found <<<"$said"
    if [[ ${#found[@]} == 2 && ${found[1]} =~ ^[0-9]{1,5}$ ]]; then
      place_of_host "${found[0]}" "${found[1]}" "$3"
      return
    fi
  done
  die "no sentinel of $1 names the primary ${2@Q}"
}

options_of_query() {
  local part
  local -a parts=()
  IFS='&' read -r -a parts <<<"$1"
  for part in "${parts[@]}"; do
    case $part in
      db=*) [[ ${part#*=} =~ ^[0-9]{1,7}$ ]] || return 1; REDIS_CLI+=(-n "${part#*=}") ;;
      ssl_ca_certs=*) REDIS_CLI+=(--cacert "$(unquoted "${part#*=}")") ;;
      ssl_certfile=*) REDIS_CLI+=(--cert "$(unquoted "${part#*=}")") ;;
      ssl_keyfile=*) REDIS_CLI+=(--key "$(unquoted "${part#*=}")") ;;
      *) return 1 ;;
    esac
  done
}

# Undoes a URL's percent signs; a backslash in it stays one.
unquoted() {
  local escaped=${1//\\/\\\\}
  printf '%b' "${escaped//%/\\x}"
}

first_line() {
  printf '%s' "${1%%$'\n'*}"
}

# judge PROOF [options]: looks into Redis, judges, prints the report as text or JSON, returns the exit code.
judge() {
  local -a how=()
  local code=0
  [[ -z ${OPTION[json]:-} ]] || how+=(--json)
  [[ ! -t 1 || -n ${NO_COLOR:-} ]] || how+=(--colour)
  python3 -I -S "$OPS_LIB/judge.py" "$1" "${how[@]}" "${@:2}" -- "${REDIS_CLI[@]}" || code=$?
  # What is none of the four codes is an accident of python3's own, and no verdict.
  ((code <= 3)) || code=$EXIT_CANNOT_TELL
  return "$code"
}

# audit WORDS…: notes what an operator changed, who also stands behind sudo: one line on standard output and, where there
# is one, in the system's log (journalctl -t quantum-ops). A log that does not take it stops nothing.
audit() {
  local line
  line="${SUDO_USER:-$(id -un)}@$(uname -n) ${0##*/}: $*"
  printf 'audit: %(%Y-%m-%dT%H:%M:%SZ)T %s\n' -1 "$line"
  if command -v logger >/dev/null; then
    timeout 5 logger -t quantum-ops -- "$line" 2>/dev/null || true
  fi
}

# operate MODULE [options]: runs ops/operate/MODULE.py with the suite's own Python, passes its exit code on, and notes
# in the audit what it says on file descriptor 3.
operate() {
  local root changed code=0
  root=$(cd "$OPS_LIB/../.." && pwd -P)
  [[ -x $root/.venv/bin/python ]] || die "the suite's Python is not at $root/.venv: run ops/setup.sh run first"
  as_operator
  if [[ -z ${REDIS_PASSWORD:-}${REDIS_PASSWORD_FILE:-} && -n ${REDISCLI_AUTH:-} ]]; then
    export REDIS_PASSWORD=$REDISCLI_AUTH
  fi
  exec 4>&1
  changed=$(cd "$root" && "$root/.venv/bin/python" -B -m "ops.operate.$1" "${@:2}" 3>&1 1>&4 4>&-) || code=$?
  exec 4>&-
  if [[ -n $changed ]]; then
    TZ=UTC audit "$changed"
  fi
  # What is none of the three codes is an accident of Python's own, and no refusal.
  ((code <= 2)) || code=$EXIT_CANNOT_TELL
  return "$code"
}

# run_deploy VERB [options]: runs ops/deploy with the system's own Python, which needs nothing installed, and passes its
# exit code on.
run_deploy() {
  local python=/usr/bin/python3 said code=0
  [[ -x $python ]] || die "$python is not there (Debian: python3)"
  said=$("$python" -I -c 'import sys; print("old" if sys.version_info < (3, 11) else "", sys.version.split()[0])' 2>&1) || die "$python does not run: $(first_line "$said")"
  [[ $said != old* ]] || die "python: $python is ${said#old }: 3.11 or newer is needed; fix: install Debian 12 or newer"
  "$python" -I "$OPS_LIB/../deploy/__main__.py" "$@" || code=$?
  return "$code"
}
