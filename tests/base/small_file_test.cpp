#include "base/small_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <filesystem>
#include <thread>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file_replacement.h"
#include "base/random.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;
using io::TemporaryDirectory;
using ::testing::HasSubstr;

constexpr Bytes kMost = kMiB;

template <typename Action>
void expect_error(ErrorCode code, const std::string& text, Action action) {
  try {
    action();
    ADD_FAILURE() << "no error, expected: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

TEST(SmallFile, WhatWasWrittenIsRead) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  for (const std::size_t size : {0u, 1u, 65536u, 65537u, 1u << 20, 10u}) {
    const std::string contents(size, 'x');
    replace_file(path, contents);
    EXPECT_TRUE(read_small_file(path, kMost) == contents) << size;
  }
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST(SmallFile, TheLimitIsExact) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  for (const std::uint64_t size : {100u, 65536u, 100000u}) {
    replace_file(path, std::string(size, 'x'));
    EXPECT_EQ(read_small_file(path, Bytes(size)).size(), size);
    expect_error(ErrorCode::kBadFile, "larger than",
                 [&] { read_small_file(path, Bytes(size - 1)); });
  }
  // Without end, and of no size that could be asked for.
  expect_error(ErrorCode::kBadFile, "larger than", [] { read_small_file("/dev/zero", kMost); });
}

TEST(SmallFile, ErrorsNameTheFile) {
  const TemporaryDirectory directory;
  const std::string absent = directory.file("absent/f");
  expect_error(ErrorCode::kNotFound, absent, [&] { read_small_file(absent, kMost); });
  expect_error(ErrorCode::kIo, "Is a directory",
               [&] { read_small_file(directory.file(""), kMost); });
  expect_error(ErrorCode::kIo, absent + ".partial: cannot be created",
               [&] { replace_file(absent, "x"); });
  expect_error(ErrorCode::kIo, "cannot be created", [] { replace_file("/proc/self/f", "x"); });
  fs::create_directory(directory.file("folder"));
  for (const std::string& path : {directory.file("folder"), std::string("/dev/null")})
    expect_error(ErrorCode::kIo, path + ": is not a regular file",
                 [&] { replace_file(path, "x"); });
}

// It may have taken a day to download.
TEST(SmallFile, AModelIsReplacedOnlyByAModel) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  {
    FileReplacement model(path, Written::kModel);
    model.write(std::as_bytes(std::span("GGUF and weights", 16)));
    model.commit();
  }
  expect_error(ErrorCode::kIo, path + ": is a model", [&] { replace_file(path, "a page"); });
  fs::create_symlink("f", directory.file("link"));
  expect_error(ErrorCode::kIo, "is a model", [&] { replace_file(directory.file("link"), "x"); });
  EXPECT_EQ(read_small_file(path, kMost), "GGUF and weights");
  EXPECT_FALSE(fs::exists(path + ".partial"));
  {
    FileReplacement other(path, Written::kModel);
    other.write(std::as_bytes(std::span("GGU", 3)));
    other.commit();
  }
  replace_file(path, "a page");
  EXPECT_EQ(read_small_file(path, kMost), "a page");
}

TEST(SmallFile, AFolderThatCannotBeWrittenKeepsTheOldFile) {
  if (geteuid() == 0) GTEST_SKIP() << "permissions do not bind the superuser";
  const TemporaryDirectory directory;
  fs::create_directory(directory.file("folder"));
  const std::string path = directory.file("folder/f");
  replace_file(path, "old");
  fs::permissions(directory.file("folder"), fs::perms::owner_read | fs::perms::owner_exec);
  expect_error(ErrorCode::kIo, "Permission denied", [&] { replace_file(path, "new"); });
  EXPECT_EQ(read_small_file(path, kMost), "old");
  fs::permissions(directory.file("folder"), fs::perms::owner_all);
}

// A limit on the size of files stands for a full disk.
TEST(SmallFile, AWriteThatFailsKeepsTheOldFileAndLeavesNothing) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  replace_file(path, "old");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limited = before;
  limited.rlim_cur = 1000;
  const auto on_signal = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  expect_error(ErrorCode::kIo, "File too large",
               [&] { replace_file(path, std::string(5000, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, on_signal);
  EXPECT_EQ(read_small_file(path, kMost), "old");
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

TEST(SmallFile, ALinkStaysALink) {
  const TemporaryDirectory directory;
  fs::create_directory(directory.file("elsewhere"));
  fs::create_symlink("elsewhere/f", directory.file("link"));  // relative, and to nothing yet
  fs::create_symlink(directory.file("link"), directory.file("second"));
  for (const char* contents : {"first", "second"}) {
    replace_file(directory.file("second"), contents);
    EXPECT_TRUE(fs::is_symlink(directory.file("link")));
    EXPECT_TRUE(fs::is_symlink(directory.file("second")));
    EXPECT_FALSE(fs::is_symlink(directory.file("elsewhere/f")));
    EXPECT_EQ(read_small_file(directory.file("elsewhere/f"), kMost), contents);
  }
  fs::create_symlink("loop", directory.file("loop"));
  expect_error(ErrorCode::kIo, "symbolic links", [&] { replace_file(directory.file("loop"), ""); });
}

TEST(SmallFile, ATemporaryFileIsNotFollowedElsewhere) {
  const TemporaryDirectory directory;
  replace_file(directory.file("victim"), "precious");
  fs::create_symlink("victim", directory.file("f.partial"));
  expect_error(ErrorCode::kIo, "f.partial", [&] { replace_file(directory.file("f"), "x"); });
  EXPECT_EQ(read_small_file(directory.file("victim"), kMost), "precious");
}

TEST(SmallFile, PermissionsAreKept) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  struct stat status{};
  const mode_t mask = umask(027);
  replace_file(path, "x");
  umask(mask);
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
  ASSERT_EQ(chmod(path.c_str(), 0604), 0);
  replace_file(path, "y");
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0604u);
}

// Versions of a length each, so that a mixture of two is none.
std::string version(char letter) {
  return std::string(static_cast<std::size_t>(letter - 'a' + 1) * 3000, letter);
}

bool is_a_version(const std::string& contents) {
  return !contents.empty() && contents == version(contents[0]);
}

TEST(SmallFile, WritersAtOnceDoNotMixTheirFiles) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  replace_file(path, version('a'));
  {
    std::vector<std::jthread> writers;
    for (const char letter : {'a', 'b', 'c'})
      writers.emplace_back([&, letter] {
        for (int i = 0; i < 30; ++i) replace_file(path, version(letter));
      });
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(is_a_version(read_small_file(path, kMost)));
  }
  EXPECT_TRUE(is_a_version(read_small_file(path, kMost)));
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

// Runs in a child, which must not return into the test.
[[noreturn]] void replace_for_ever(const std::string& path) {
  const std::string versions[] = {version('a'), version('b'), version('z')};
  try {
    for (std::size_t i = 0;; ++i) replace_file(path, versions[i % 3]);
  } catch (...) {
    _exit(1);
  }
}

TEST(SmallFile, AKilledWriterLeavesOneCompleteVersion) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("f");
  replace_file(path, version('a'));
  Random random(1);
  int left_behind = 0;
  for (int kill_number = 0; kill_number < 200; ++kill_number) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) replace_for_ever(path);
    usleep(static_cast<useconds_t>(random.below(4000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed by itself";
    ASSERT_TRUE(is_a_version(read_small_file(path, kMost))) << "after kill " << kill_number;
    left_behind += fs::exists(path + ".partial") ? 1 : 0;
  }
  EXPECT_GT(left_behind, 0) << "no kill came while a file was being written";
  replace_file(path, "end");
  EXPECT_EQ(read_small_file(path, kMost), "end");
  EXPECT_FALSE(fs::exists(path + ".partial"));
}

// Neither the path nor its permissions are what has to be looked at.
TEST(FileReplacement, SaysWhenTooManyFilesAreOpen) {
  TemporaryDirectory directory;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  std::exception_ptr thrown;  // looked at later: a sanitizer wants descriptors for it
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  try {
    replace_file(directory.file("f"), "text");
  } catch (...) {
    thrown = std::current_exception();
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_NE(thrown, nullptr);
  expect_error(ErrorCode::kIo, "raise the limit of open files",
               [&] { std::rethrow_exception(thrown); });
  EXPECT_THAT(advice_on_opening(EACCES), HasSubstr("permissions"));
}

}  // namespace
}  // namespace hearth
