#!/usr/bin/env bash
# check-abi.sh LIBRARY [--store]: compares the binary interface of libhearth.so with the stored one,
# packaging/libhearth.abi, and fails where a program that was built against that would break,
# unless the major version is another one. --store writes the file anew.
#
# The library's API must be built with -g (the preset `abi`).
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
library=$1
stored=$folder/libhearth.abi
headers=$folder/../include

soname() { sed -n "s/.*soname='\([^']*\)'.*/\1/p" "$1" | head -1; }

found=$(mktemp)
trap 'rm -f "$found"' EXIT
# Only what a program sees: types of the public headers, and no paths of this machine.
abidw --headers-dir "$headers" --drop-private-types --drop-undefined-syms --no-corpus-path \
  --no-comp-dir-path --no-show-locs --type-id-style hash --out-file "$found" "$library"
grep -q "elf-symbol name='hearth_version'" "$found" || { echo "check-abi: $library is not libhearth" >&2; exit 1; }
grep -q "<function-decl name='hearth_version'" "$found" ||
  { echo "check-abi: $library has no debug information; build it with the preset abi" >&2; exit 1; }

if [[ ${2:-} == --store ]]; then
  cp "$found" "$stored"
  echo "stored the interface of $(soname "$found") in packaging/libhearth.abi"
  exit
fi
[[ -e $stored ]] ||
  { echo "check-abi: packaging/libhearth.abi is not there; ./dev abi writes it" >&2; exit 1; }
if [[ $(soname "$found") != $(soname "$stored") ]]; then
  echo "check-abi: $(soname "$found") follows $(soname "$stored"): its interface may be another one." \
    "Store it with ./dev abi" >&2
  exit 1
fi
# New functions are fine, and so are structs that grew at their end (hearth/status.h).
abidiff --no-added-syms --suppressions "$folder/libhearth.abignore" "$stored" "$found" ||
  { echo "check-abi: programs that were built against the stored interface break. Take the change" \
      "back, or raise HEARTH_VERSION_MAJOR" >&2; exit 1; }
echo "the interface of $(soname "$found") is compatible with the stored one"
