#!/bin/bash
# Measures what Cairn promises of its speed: each line is one `cairn-bench compare`, as it stands in
# bench/RESULTS.md. Prints the last line of each; exit code 1 if one does not hold.
#
#   bench/goals.sh [--pairs N] [--seconds S] [BUILD_DIR]     default: 5 pairs, 3 s, build/release
#   bench/goals.sh --only 6                                  one goal
#
# Needs two cores with nothing else on them, for about 15 minutes, and up to 4 GB of disk.
set -u
cd "$(dirname "$0")/.." || exit 2

pairs=5
seconds=3
only=
build=build/release
while [ $# -gt 0 ]; do
  case "$1" in
    --pairs) pairs=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    -h|--help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "goals.sh: unknown option $1" >&2; exit 2 ;;
    *) build=$1; shift ;;
  esac
done

bench=$build/bench/cairn-bench
[ -x "$bench" ] || { echo "goals.sh: $bench is not there; build it first" >&2; exit 2; }
files=$(mktemp -d ./cairn-goals-XXXXXX) || exit 1
trap 'rm -rf "$files"' EXIT
failed=0

# Segments come and go within little memory, as they do in the limit programs: what is measured is
# then the broker, not how fast the system finds pages for a growing cache.
small="--config segment.bytes=67108864 --config retention.bytes=134217728"
small="$small --broker-flag=--retention.check.interval=100"

# goal NUMBER 'WHAT' COMMAND…
goal() {
  local number=$1 what=$2
  shift 2
  [ -z "$only" ] || [ "${number%%[a-z]*}" = "$only" ] || return 0
  local line
  line=$("$bench" compare "$@" 2>"$files/pairs" | tail -n 1)
  if [ -z "$line" ]; then line="failed: $(tail -n 1 "$files/pairs")"; fi
  case "$line" in *'does not hold'*|failed*) failed=1 ;; esac
  printf '%-4s %s\n     %s\n' "$number" "$what" "$line"
}

run="--seconds $seconds --dir $files"
limit="--seconds $seconds"
goal 1a 'bulk, 1 KiB, written: of the limit of sink, checksum and append' \
  "produce $run $small" "limit append $limit --dir $files" --pairs "$pairs" --at-least 0.7
goal 1b 'bulk, 1 KiB, durable: of written' \
  "produce $run $small --durability durable" "produce $run $small" --pairs "$pairs" --at-least 0.9
goal 2a 'small records, 100 B: of 3,000,000 records/s' \
  "produce $run $small --record-bytes 100" 3000000 --metric records_per_second \
  --pairs "$pairs" --at-least 1
goal 2b 'small records with keys, 16 partitions: of those without' \
  "produce $run $small --record-bytes 100 --partitions 16 --keys 1000" \
  "produce $run $small --record-bytes 100 --partitions 16" --metric records_per_second \
  --pairs "$pairs" --at-least 0.7
goal 3 '64 producers with one record each: of the round trips of 64 connections' \
  "many producers $run --count 64" "limit round-trip $limit --connections 64" \
  --metric requests_per_second --pairs "$pairs" --at-least 0.6
goal 4a 'durable, one after the other, p50: of a round trip with append and fdatasync' \
  "produce $run --durability durable --in-flight 1 --record-bytes 100" \
  "limit sync-round-trip $limit --dir $files --bytes 200" --metric p50_us \
  --pairs "$pairs" --at-most 1.3
goal 4b 'durable, 64 in flight: acknowledgements of one after the other' \
  "many producers $run --durability durable --count 64" \
  "many producers $run --durability durable --count 1" --metric requests_per_second \
  --pairs "$pairs" --at-least 8
goal 4c '512 partitions at once, p50: of 512 fdatasyncs one after the other' \
  "many producers $run --durability durable --count 512 --partitions 512" \
  "limit dirty-files $limit --dir $files --files 512 --variant serial" --metric p50_us \
  --pairs "$pairs" --at-most 0.2
goal 5a 'consume from memory, 1 KiB: of the limit of serving' \
  "consume $run" "limit serve $limit --dir $files" --pairs "$pairs" --at-least 0.8
goal 5b 'consume from memory, 100 B: of 5,000,000 records/s' \
  "consume $run --record-bytes 100" 5000000 --metric records_per_second \
  --pairs "$pairs" --at-least 1
goal 6a 'end to end at 10,000/s, written, p50: of a round trip' \
  "e2e $run --record-bytes 100" "limit round-trip $limit" --metric p50_us \
  --pairs "$pairs" --at-most 2
goal 6b 'end to end at 10,000/s, written, p99: of 1 ms' \
  "e2e $run --record-bytes 100" 1000 --metric p99_us --pairs "$pairs" --at-most 1
goal 6c 'end to end at 10,000/s, durable, p99: of fdatasync, p99' \
  "e2e $run --record-bytes 100 --durability durable" "limit sync $limit --dir $files" \
  --metric p99_us --pairs "$pairs" --at-most 3
goal 7a '10,000 partitions: of the records/s of one' \
  "produce $run --partitions 10000" "produce $run" --metric records_per_second \
  --pairs "$pairs" --at-least 0.85
goal 7b '10,000 idle partitions, bytes of each: of 4096' \
  "many partitions --count 10000 --dir $files --seconds 70" 4096 --metric bytes_per_partition \
  --pairs 1 --at-most 1
goal 8a '4,800 idle connections, bytes of each: of 8192' \
  "many connections $run --count 4800 --rate 2000" 8192 --metric bytes_per_connection \
  --pairs 1 --at-most 1
goal 8b 'one producer beside 4,800 idle connections, p99: of beside none' \
  "many connections $run --count 4800 --rate 2000" "many connections $run --count 0 --rate 2000" \
  --metric p99_us --pairs "$pairs" --at-most 1.2
goal 8c '1,000 waiting subscriptions, share of a core: of 0.5 %' \
  "many subscriptions $run --warm-up 2" 0.005 --metric broker_cpu_share --pairs 1 --at-most 1
goal 9a '16 subscribers, broker CPU per delivered byte: of one' \
  "e2e $run --consumers 16" "e2e $run" --metric broker_cpu_ns_per_byte --pairs "$pairs" \
  --at-most 1.1
goal 9b 'acknowledgements beside a stopped subscriber, p99: of without' \
  "e2e $run --stopped 1" "e2e $run" --metric ack_p99_us --pairs "$pairs" --at-most 1.1
goal 10 'acknowledgements at 20,000/s beside a cold reader, p99: of without' \
  "produce $run --rate 20000 --cold-bytes 2147483648" "produce $run --rate 20000" --metric p99_us \
  --pairs "$pairs" --at-most 1.5
goal 11 'segments of 1 MiB, acknowledgements at 20,000/s, p99.9: of segments of 1 GiB' \
  "produce $run --rate 20000 --config segment.bytes=1048576" "produce $run --rate 20000" \
  --metric p999_us --pairs "$pairs" --at-most 1.5
exit "$failed"
