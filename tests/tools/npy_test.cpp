#include "tools/hearth/npy.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "base/error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools {
namespace {

using testing::read_file;
using testing::temporary_path;
using testing::write_file;

// What numpy.save(numpy.zeros((1, 2), "<f4")) writes, with a header shorter than ours.
std::string numpy_file(const std::string& dictionary, const std::string& data,
                       std::size_t padded = 118) {
  std::string header = dictionary;
  header.resize(padded - 1, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(padded & 0xff) +
         static_cast<char>(padded >> 8) + header + data;
}

ErrorCode error_of(const std::string& content) {
  const std::string path = temporary_path("bad.npy");
  write_file(path, content);
  try {
    NpyReader reader(path);
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kNumerics;
}

TEST(Npy, RowsComeBackAsTheyWere) {
  const std::string path = temporary_path("rows.npy");
  NpyWriter writer(path, {.rows = 5, .columns = 3});
  for (int row = 0; row < 5; ++row) writer.append(std::vector<float>{row * 1.0f, -0.0f, 1e-45f});
  EXPECT_FALSE(std::filesystem::exists(path));  // only a whole file has the name
  writer.finish();

  NpyReader reader(path);
  ASSERT_EQ(reader.rows(), 5u);
  ASSERT_EQ(reader.columns(), 3u);
  std::vector<float> row(3);
  for (int i = 0; i < 5; ++i) {
    reader.read_row(row);
    EXPECT_EQ(row[0], static_cast<float>(i));
    EXPECT_TRUE(std::signbit(row[1]));
    EXPECT_EQ(row[2], 1e-45f);
  }
}

TEST(Npy, TheHeaderIsNumpys) {
  const std::string path = temporary_path("header.npy");
  NpyWriter writer(path, {.rows = 1, .columns = 2});
  writer.append(std::vector<float>{1, 2});
  writer.finish();
  EXPECT_EQ(read_file(path).substr(0, 128),
            numpy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", ""));
}

TEST(Npy, AnAbandonedFileLeavesNothing) {
  const std::string path = temporary_path("abandoned.npy");
  {
    NpyWriter(path, {.rows = 1, .columns = 2}).append(std::vector<float>{1, 2});
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST(Npy, ReadsHeadersOfOtherLengths) {
  const std::string path = temporary_path("short.npy");
  write_file(path, numpy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}",
                              std::string(8, '\0'), 64));
  EXPECT_EQ(NpyReader(path).columns(), 2u);
}

TEST(Npy, WhatItCannotReadIsAnErrorThatNamesTheFile) {
  const std::string eight(8, '\0');
  const auto with = [&](const char* dictionary) { return error_of(numpy_file(dictionary, eight)); };
  EXPECT_EQ(error_of(""), ErrorCode::kBadFile);
  EXPECT_EQ(error_of("GGUF, and more than ten bytes"), ErrorCode::kBadFile);
  EXPECT_EQ(error_of(numpy_file("", "").substr(0, 40)), ErrorCode::kBadFile);
  EXPECT_EQ(with("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }"),
            ErrorCode::kUnsupported);
  EXPECT_EQ(with("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }"),
            ErrorCode::kUnsupported);
  EXPECT_EQ(with("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"),
            ErrorCode::kUnsupported);
  EXPECT_EQ(with("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2), }"),
            ErrorCode::kUnsupported);
  EXPECT_EQ(with("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"),
            ErrorCode::kBadFile);
  // 2^62 × 4 × 4 wraps around to 0.
  EXPECT_EQ(with("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }"),
            ErrorCode::kBadFile);
  EXPECT_THROW(NpyReader(temporary_path("missing.npy")), Error);
  EXPECT_THROW(NpyWriter("/nonexistent/x.npy", {}), Error);
}

}  // namespace
}  // namespace hearth::tools
