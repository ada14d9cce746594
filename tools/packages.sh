# Sourced by run.sh, test.sh and .ci/run: installs the Debian packages that are missing.
#
#   need_packages "reason" package…     asks dpkg; apt-get only if something is missing

missing_packages() {
  local package
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" != "install ok installed" ]; then
      printf '%s ' "$package"
    fi
  done
}

need_packages() {
  local reason=$1 missing
  shift
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  local -a as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "These packages are missing, and there is neither root nor sudo to install them: $missing" >&2
      echo "They are needed $reason. As root: apt-get install $missing" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "Installing from Debian, $reason: $missing"
  "${as_root[@]}" apt-get update -qq </dev/null
  # shellcheck disable=SC2086  # a list of words
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    $missing </dev/null >/dev/null
}

need_build_packages() {
  need_packages "to build" cmake ninja-build g++ pkg-config ccache
  need_packages "as libraries (sockets, messages, hashes, checksums, codecs, flags, JSON, tests)" \
    libasio-dev libflatbuffers-dev flatbuffers-compiler libabsl-dev libxxhash-dev libisal-dev \
    libzstd-dev liblz4-dev libcli11-dev nlohmann-json3-dev catch2
  need_packages "to compare what was read with what was sent" python3
}

need_test_packages() {
  need_packages "for the tests' independent client and file reader" \
    python3-flatbuffers python3-xxhash python3-zstandard python3-lz4
  need_packages "to cut the power of file systems of the tests' own, also without syncs" \
    e2fsprogs xfsprogs libeatmydata1
  need_packages "for disks that record and fail what the tests tell them to" libfuse3-dev
}

need_check_packages() {
  need_packages "to fuzz" clang-14 libclang-rt-14-dev
  need_packages "to check the format" clang-format-14
}

#   build_preset PRESET [BUILD OPTION…]     configures and builds
build_preset() {
  local preset=$1
  shift
  cmake --preset "$preset" >"$(build_log "$preset")" 2>&1 </dev/null || {
    cat "$(build_log "$preset")" >&2
    return 1
  }
  cmake --build --preset "$preset" "$@" </dev/null
}

build_log() {
  mkdir -p build
  echo "build/$1-configure.log"
}
