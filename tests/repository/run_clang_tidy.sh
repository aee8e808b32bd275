#!/usr/bin/env bash
# Runs clang-tidy on the sources without LibTorch (fast, so always) and on those that changed.
#
#   run_clang_tidy.sh BUILD_DIR [--all]
#
# Changed means different from the merge base with the default branch; on the default branch itself, from the
# commit before. A source also counts as changed when a header beside it with its name did.
set -euo pipefail
build=$1
scope=${2:-changed}
root=$(git -C "$(dirname "$(readlink -f "$0")")" rev-parse --show-toplevel)
cd "$root"

base_commit() {
  local branch base
  for branch in origin/HEAD origin/main main; do
    base=$(git merge-base HEAD "$branch" 2>/dev/null) || continue
    if [ "$base" != "$(git rev-parse HEAD)" ]; then echo "$base"; return; fi
    break
  done
  git rev-parse --quiet --verify HEAD~1 || git hash-object -t tree /dev/null
}

wanted_sources() {
  if [ "$scope" = --all ]; then
    git ls-files --cached --others --exclude-standard '*.cpp'
    return
  fi
  python3 tests/repository/source_rules.py --list-torch-free
  local path
  { git diff --name-only --diff-filter=d "$(base_commit)"; git ls-files --others --exclude-standard; } |
    while read -r path; do
      case "$path" in
        *.cpp) echo "$path" ;;
        *.h) echo "${path%.h}.cpp" ;;
      esac
    done
}

# Only what this build compiles can be checked: the database holds its flags.
compiled=$(mktemp)
trap 'rm -f "$compiled"' EXIT
python3 - "$build/compile_commands.json" "$root" >"$compiled" <<'PY'
import json, os, sys
for entry in json.load(open(sys.argv[1])):
    print(os.path.relpath(os.path.join(entry["directory"], entry["file"]), sys.argv[2]))
PY
mapfile -t sources < <(wanted_sources | sort -u | grep -Fxf "$compiled" || true)
echo "clang-tidy: ${#sources[@]} sources"
[ ${#sources[@]} -gt 0 ] || exit 0
# The build's precompiled header is g++'s; clang reads the header itself.
printf '%s\0' "${sources[@]}" |
  xargs -0 -n 1 -P "$(nproc)" "${CLANG_TIDY:-clang-tidy}" -p "$build" --quiet \
    --extra-arg=-Wno-ignored-gch --extra-arg=-Wno-unknown-warning-option 2> >(grep -vE '^[0-9]+ warnings? (generated|treated)' >&2)
