#!/usr/bin/env bash
# check_abi.sh SOURCE: which changes of a library packaging/check-abi.sh lets pass, tried on a very
# small one.
set -euo pipefail
command -v abidw >/dev/null || { echo "skipped: abidw (abigail-tools) is not installed"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/packaging" "$work/include/hearth"
cp "$1/packaging/check-abi.sh" "$work/packaging/"
cd "$work"

readonly header='
#include <stddef.h>
typedef struct hearth_thing hearth_thing;
typedef struct hearth_options { size_t size; int first; short second; } hearth_options;
typedef struct hearth_row { int layer; int expert; } hearth_row;
typedef enum hearth_kind { HEARTH_ONE, HEARTH_TWO } hearth_kind;
const char *hearth_version(void);
int hearth_open(const hearth_options *options, hearth_kind kind, hearth_thing **thing);
int hearth_add(const hearth_row *rows, size_t count);
int hearth_close(hearth_thing *thing);'
readonly source='
#include <hearth/hearth.h>
struct hearth_thing { int secret; };
const char *hearth_version(void) { return "0.1.0"; }
int hearth_open(const hearth_options *o, hearth_kind k, hearth_thing **t) { return !t + !o + k; }
int hearth_add(const hearth_row *rows, size_t count) { return rows->layer + (int)count; }
int hearth_close(hearth_thing *t) { return t ? t->secret : 0; }'

# build HEADER SOURCE [MAJOR]
build() {
  printf '%s\n' "$1" >include/hearth/hearth.h
  printf '%s\n' "$2" >library.c
  cc -g -w -shared -fPIC -Iinclude -Wl,-soname,"libhearth.so.${3:-0}" library.c -o libhearth.so
}

# expect passes|fails WHAT HEADER SOURCE [MAJOR]
expect() {
  local wanted=$1 what=$2 found=passes
  shift 2
  build "$@"
  packaging/check-abi.sh ./libhearth.so >out 2>&1 || found=fails
  [[ $found == "$wanted" ]] || { cat out; echo "check_abi.sh: $what: $found, but should not" >&2; exit 1; }
}

build "$header" "$source"
packaging/check-abi.sh ./libhearth.so --store
expect passes "the same" "$header" "$source"
expect passes "a private type" "$header" "${source/int secret;/int secret; double more;}"
expect passes "a new function" "$header
int hearth_more(void);" "$source
int hearth_more(void) { return 1; }"
expect passes "a member at the end" "${header/short second;/short second; double third;}" "$source"
expect passes "an enumerator at the end" "${header/HEARTH_TWO/HEARTH_TWO, HEARTH_THREE}" "$source"
expect fails "a struct that grows and has no size" "${header/int expert;/int expert; int more;}" "$source"
expect fails "a member in between" "${header/int first;/int first; int between;}" "$source"
expect fails "a member in padding" "${header/short second;/short second; short third;}" "$source"
expect fails "another type of a member" "${header/int first;/long first;}" "$source"
expect fails "another type of the same size" "${header/int first;/float first;}" "$source"
expect fails "another type, and a member at the end" \
  "${header/int first; short second;/long first; short second; double third;}" "$source"
expect fails "no member any more" "${header/ short second;/}" "$source"
expect fails "another value of an enumerator" "${header/HEARTH_ONE/HEARTH_NONE, HEARTH_ONE}" "$source"
expect fails "no function any more" "${header/int hearth_close*/}" "${source/int hearth_close*/}"
expect fails "another parameter" "${header/hearth_kind kind/long kind}" "${source/hearth_kind k/long k}"
expect fails "another result" "${header/int hearth_close/double hearth_close}" \
  "${source/int hearth_close/double hearth_close}"
expect fails "another major version, not stored yet" "$header" "$source" 1
build "$header" "$source" 1
packaging/check-abi.sh ./libhearth.so --store
expect passes "another major version" "$header" "$source" 1
echo "all changes were judged as they should"
