#!/usr/bin/env bash
# check-abi.sh LIBRARY [--store]: compares the binary interface of libhearth.so with the stored one,
# packaging/libhearth.abi, and fails where a program that was built against that would break,
# unless the major version is another one. --store writes the file anew.
#
# The library's API must be built with -g, as the target hearth_abi is.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
library=$1
stored=$folder/libhearth.abi
headers=$(dirname "$folder")/include

soname() { sed -n "s/.*soname='\([^']*\)'.*/\1/p" "$1" | head -1; }

found=$(mktemp)
trap 'rm -f "$found"' EXIT
# Only what a program sees: types of the public headers, and no paths of this machine.
abidw --headers-dir "$headers" --drop-private-types --exported-interfaces-only --no-elf-needed \
  --no-corpus-path --no-comp-dir-path --no-show-locs --type-id-style hash --out-file "$found" "$library"
grep -q "elf-symbol name='hearth_version'" "$found" || { echo "check-abi: $library is not libhearth" >&2; exit 1; }
grep -q "<function-decl name='hearth_version'" "$found" ||
  { echo "check-abi: $library has no debug information; build the target hearth_abi" >&2; exit 1; }

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
# The structs of the stored interface whose first member is their size.
sized_structs() {
  awk -F"'" '
    /<class-decl / { name = $2 }
    /<var-decl / && name != "" { if ($2 == "size") print name; name = "" }' "$stored"
}

# Whether a report of abidiff names nothing but what programs do not notice: structs that grew at
# their end and begin with their size (hearth/status.h), and enumerators that were added. A line that
# is none of these is a change that they do notice. (abidiff has suppressions for members at the
# end, but these hide members of another type as well.)
only_grew() {
  awk -v sized=" $(sized_structs | tr '\n' ' ')" '
    /^(Functions|Variables) changes summary: 0 Removed,/ { next }
    /^$/ { next }
    /^[0-9]+ functions? with some (indirect )?sub-type changes?:$/ { next }
    /^ *\[C\] .function .* has some (indirect )?sub-type changes:$/ { next }
    /^ *parameter [0-9]+ of type .* has sub-type changes:$/ { next }
    /^ *in (pointed to|unqualified underlying|referenced) type .*:$/ { next }
    /^ *(underlying )?type .(struct|enum|typedef) .* changed:$/ {
      name = $(NF - 1)
      sub(/.$/, "", name)
      grows = index(sized, " " name " ")
      size = -1
      next
    }
    /^ *type size hasn.t changed$/ { next }
    /^ *type size changed from [0-9]+ to [0-9]+ \(in bits\)$/ { size = $5; next }
    /^ *[0-9]+ (data member|enumerator) insertions?:$/ { next }
    /, at offset [0-9]+ \(in bits\)$/ { if (grows && size >= 0 && $(NF - 2) >= size) next }
    /^ *.[A-Za-z0-9_:]+. value .[0-9]+.$/ { next }
    { broken = 1 }
    END { exit broken }'
}

# abidiff says by the bits of its code what it found: 4 a change, 8 one that breaks programs for sure.
report=$(abidiff --no-added-syms "$stored" "$found") && code=0 || code=$?
if ((code != 0)) && { ((code != 4)) || ! only_grew <<<"$report"; }; then
  printf '%s\n' "$report"
  echo "check-abi: programs that were built against the stored interface break. Take the change" \
    "back, or raise HEARTH_VERSION_MAJOR" >&2
  exit 1
fi
echo "the interface of $(soname "$found") is compatible with the stored one"
