#!/usr/bin/env bash
# check.sh SOURCE BUILD: installs into a folder of its own, builds programs against what is there,
# with CMake and with pkg-config, shared and static, runs them, and removes everything again.
set -euo pipefail

source=$1 build=$2
work=$(mktemp -d)
prefix=$work/prefix
# The record of an installation that somebody made from this build folder is kept.
for record in install_manifest.txt install_folders.txt; do
  if [[ -e $build/$record ]]; then mv "$build/$record" "$work/$record"; fi
done
clean_up() {
  rm -f "$build/install_manifest.txt" "$build/install_folders.txt"
  for record in install_manifest.txt install_folders.txt; do
    if [[ -e $work/$record ]]; then mv "$work/$record" "$build/$record"; fi
  done
  rm -rf "$work"
}
trap clean_up EXIT

said=
fail() { printf 'check.sh: %s\n' "$*" >&2; exit 1; }

# runs PROGRAM needed|absent: it says what the others say, and needs libhearth.so or not.
runs() {
  local library=absent hello
  hello=$(LD_LIBRARY_PATH=$libraries "$1" "$source/tests/golden/qwen3moe.gguf")
  [[ $hello == "${said:=$hello}" && $hello == "hello from $version, token "* ]] ||
    fail "$1 says '$hello', others '$said'"
  if readelf -d "$1" | grep -q 'NEEDED.*libhearth\.so\.[0-9]*\]'; then library=needed; fi
  [[ $library == "$2" ]] || fail "$1: libhearth.so is $library"
}

cmake --install "$build" --prefix "$prefix" >"$work/install.log"
libraries=$(dirname "$(find "$prefix" -name libhearth.so)")
export PKG_CONFIG_PATH=$libraries/pkgconfig

# Names: nothing but the API, in either library; and the version in the file's name.
for names in "nm -D --defined-only $libraries/libhearth.so" "nm -g --defined-only $libraries/libhearth.a"; do
  $names | awk 'NF == 3 && $3 !~ /^(hearth_|HEARTH_)/ { print; found = 1 } END { exit found }' ||
    fail "$names: the names above do not begin with hearth_"
  $names | grep -q ' T hearth_version' || fail "$names: hearth_version is missing"
done
version=$(pkg-config --modversion hearth)
readelf -d "$libraries/libhearth.so" | grep -q "SONAME.*libhearth\.so\.${version%%.*}\]" ||
  fail "SONAME is not the major version of $version"
"$prefix/bin/hearth" --version | grep -q "^hearth $version$" || fail "another hearth --version"

for language in c cpp; do
  cmake -S "$source/tests/consumers/$language" -B "$work/$language" -G Ninja \
    -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release >"$work/$language.log" 2>&1 ||
    { cat "$work/$language.log"; fail "find_package(hearth) does not work for $language"; }
  cmake --build "$work/$language" >"$work/$language.log" 2>&1 ||
    { cat "$work/$language.log"; fail "linking does not work for $language"; }
  runs "$work/$language/hello_shared" needed
  runs "$work/$language/hello_static" absent
done

mkdir "$work/make"
make -s -C "$work/make" -f "$source/tests/consumers/Makefile" VPATH="$source/tests/consumers"
runs "$work/make/hello_shared" needed
runs "$work/make/hello_static" absent

# A prefix may be moved.
mv "$prefix" "$work/moved"
PKG_CONFIG_PATH=${PKG_CONFIG_PATH/prefix/moved} pkg-config --cflags hearth | grep -q "$work/moved" ||
  fail "hearth.pc does not follow its folder"
mv "$work/moved" "$prefix"

# Nothing stays, but what somebody else has put there.
mkdir -p "$prefix/share/man/man1"
touch "$prefix/share/man/man1/other.1"
cmake -D build="$build" -P "$source/packaging/uninstall.cmake" >"$work/uninstall.log"
[[ $(find "$prefix" -type f) == "$prefix/share/man/man1/other.1" ]] ||
  { find "$prefix" -type f; fail "the files above were left"; }
cmake --install "$build" --prefix "$prefix-2" >"$work/install.log"
cmake -D build="$build" -P "$source/packaging/uninstall.cmake" >"$work/uninstall.log"
[[ ! -e $prefix-2 ]] || { find "$prefix-2"; fail "the folders above were left"; }
