#!/bin/bash
# The daemon from outside: its command line, its config file, its signals, and what it says when it
# cannot start. Usage: cairnd_test.sh PATH-OF-CAIRND
set -u
cairnd=$1
work=$(mktemp -d)
pid=
failures=0
# Only a daemon that this test started, and that still runs, is ended.
trap '[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $1"
  sed 's/^/    /' "$work/out" "$work/err"
  failures=$((failures + 1))
}

# refuses NAME EXIT-CODE TEXT… -- ARGUMENTS…   ends with the code and one line that has all the texts
refuses() {
  local name=$1 code=$2 texts=()
  shift 2
  while [ "$1" != -- ]; do texts+=("$1"); shift; done
  shift
  timeout 60 "$cairnd" "$@" >"$work/out" 2>"$work/err"
  local got=$?
  [ $got -eq "$code" ] || fail "$name: exit code $got instead of $code"
  local text
  for text in "${texts[@]}"; do
    grep -qF -- "$text" "$work/err" || fail "$name: \"$text\" is not in what it says"
  done
  [ -s "$work/out" ] && fail "$name: something on stdout"
}

# start ARGUMENTS…   waits for the ready line; sets pid and endpoint
start() {
  rm -f "$work/out"
  "$cairnd" "$@" >"$work/out" 2>"$work/err" &
  pid=$!
  local i
  for i in $(seq 1200); do
    grep -q '^cairnd ready on ' "$work/out" 2>/dev/null && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
  done
  endpoint=$(sed -n 's/^cairnd ready on //p' "$work/out")
  [ -n "$endpoint" ] || { fail "no ready line with: $*"; return 1; }
}

# stop SIGNAL   must end with 0
stop() {
  kill -"$1" "$pid"
  wait "$pid"
  local got=$?
  pid=
  [ $got -eq 0 ] || fail "exit code $got after SIG$1"
}

# ---- wrong usage: exit code 2 ----
refuses "an unknown flag" 2 --no-such-flag -- --no-such-flag
refuses "an address without a port" 2 --listen nowhere -- --listen nowhere
refuses "a port that is none" 2 --listen 99999 -- --listen 127.0.0.1:99999
refuses "threads that are no number" 2 --threads many -- --threads many
refuses "no threads" 2 --threads -- --threads 0
refuses "an unknown log level" 2 loud "debug, info, warning, error" -- --log-level loud
refuses "an empty data directory" 2 --data-dir "name a directory" -- --data-dir ''
refuses "a config file that is not there" 2 "$work/none.conf" -- --config "$work/none.conf"

echo 'no-such-key=1' >"$work/unknown.conf"
refuses "an unknown key" 2 no-such-key data-dir listen -- --config "$work/unknown.conf"
printf 'reserve.byte=1\n' >"$work/dotted.conf"
refuses "an unknown key with a dot" 2 reserve.byte data-dir -- --config "$work/dotted.conf"
echo 'threads=many' >"$work/value.conf"
refuses "a bad value in the file" 2 threads many -- --config "$work/value.conf"
echo 'listen="nowhere"' >"$work/listen.conf"
refuses "a bad address in the file" 2 listen nowhere -- --config "$work/listen.conf"
printf 'what is this\n' >"$work/garbage.conf"
refuses "a file of something else" 2 -- --config "$work/garbage.conf"

"$cairnd" --help >"$work/out" 2>"$work/err" || fail "--help does not end with 0"
grep -q -- --data-dir "$work/out" || fail "--help does not mention --data-dir"
"$cairnd" --version >"$work/out" 2>"$work/err" || fail "--version does not end with 0"
grep -q '^cairnd [0-9]' "$work/out" || fail "--version does not say the version"

# ---- it serves, and stops when told to ----
start --data-dir "$work/data" --listen 127.0.0.1:0 && {
  case $endpoint in 127.0.0.1:0) fail "the ready line does not name the port" ;; 127.0.0.1:*) ;;
    *) fail "unexpected endpoint $endpoint" ;; esac
  exec 3<>"/dev/tcp/${endpoint%:*}/${endpoint##*:}" || fail "nobody answers at $endpoint"
  exec 3>&-
  grep -q ' info serving ' "$work/err" || fail "no log line on stderr"

  # A second one, in the same place in one way or the other.
  cp "$work/out" "$work/first"
  refuses "a locked data directory" 1 "$work/data" "$pid" -- --data-dir "$work/data" --listen 127.0.0.1:0
  refuses "a port in use" 1 "$endpoint" "in use" --listen -- --data-dir "$work/other" --listen "$endpoint"
  stop TERM
}
start --data-dir "$work/data" --listen 127.0.0.1:0 && {
  grep -q 'clean_start=true' "$work/err" || fail "the stop was not clean"
  stop INT
}

# ---- the config file; a flag wins over it ----
printf 'data-dir="%s"\nlisten="127.0.0.1:0"\nthreads=1\nlog-level="debug"\n' "$work/from-file" >"$work/good.conf"
start --config "$work/good.conf" && {
  [ -d "$work/from-file" ] || fail "data-dir of the config file was not used"
  grep -q 'threads=1' "$work/err" || fail "threads of the config file was not used"
  stop TERM
}
start --config "$work/good.conf" --threads 3 && {
  grep -q 'threads=3' "$work/err" || fail "a flag does not win over the file"
  stop TERM
}

# ---- what it cannot start with: exit code 1 and one clear line ----
refuses "a public address" 1 0.0.0.0 --insecure-public-listener -- --data-dir "$work/p" --listen 0.0.0.0:0
start --data-dir "$work/p" --listen 0.0.0.0:0 --insecure-public-listener && stop TERM

refuses "a host nobody knows" 1 no-such-host.invalid -- --data-dir "$work/h" --listen no-such-host.invalid:0

mkdir "$work/foreign"
echo "family photos" >"$work/foreign/photo.jpg"
refuses "a directory of something else" 1 "$work/foreign" -- --data-dir "$work/foreign" --listen 127.0.0.1:0
[ "$(cat "$work/foreign/photo.jpg")" = "family photos" ] || fail "a foreign file was touched"

echo "not a directory" >"$work/file"
refuses "a file in its place" 1 "$work/file" -- --data-dir "$work/file" --listen 127.0.0.1:0
refuses "a place nothing can be made in" 1 /proc/cairn -- --data-dir /proc/cairn --listen 127.0.0.1:0

cp -r "$work/data" "$work/damaged"
printf 'xxxxxxxxxxxxxxxx' | dd of="$work/damaged/format" conv=notrunc status=none
refuses "a damaged format file" 1 "$work/damaged/format" -- --data-dir "$work/damaged" --listen 127.0.0.1:0

# A disk that is full, where we may have one of our own.
if unshare -rm true 2>/dev/null; then
  mkdir "$work/full"
  timeout 60 unshare -rm bash -c '
    mount -t tmpfs -o size=16k none "$2" && head -c 16384 /dev/zero >"$2/ballast" 2>/dev/null
    mkdir -p "$2/data" 2>/dev/null
    exec "$1" --data-dir "$2/data" --listen 127.0.0.1:0' - "$cairnd" "$work/full" >"$work/out" 2>"$work/err"
  [ $? -eq 1 ] || fail "a full disk at start: not exit code 1"
  grep -q 'No space left\|full' "$work/err" || fail "a full disk at start: not said"
fi

[ $failures -eq 0 ] && echo "all is well"
exit $((failures > 0))
