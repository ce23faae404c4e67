// The bytes of an embedded file are the bytes of the file in the repository.
#include "base/embedded_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace hearth {

std::span<const EmbeddedFile> test_assets();  // tests/CMakeLists.txt

namespace {

TEST(EmbeddedFile, HoldsTheBytesOfTheFile) {
  const std::filesystem::path folder =
      std::filesystem::path(HEARTH_SOURCE_DIR) / "tests/base/assets";
  ASSERT_EQ(test_assets().size(), 3u);
  for (const EmbeddedFile& file : test_assets()) {
    std::ifstream in(folder / file.name, std::ios::binary);
    ASSERT_TRUE(in.is_open()) << file.name;
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_EQ(file.content, bytes) << file.name;
  }
}

TEST(EmbeddedFile, IsFoundByItsName) {
  EXPECT_EQ(embedded_content(test_assets(), "bytes.bin").size(), 256u);
  EXPECT_EQ(embedded_content(test_assets(), "empty.txt"), "");
}

TEST(EmbeddedFileDeathTest, UnknownNameIsABug) {
  EXPECT_DEATH(embedded_content(test_assets(), "absent.txt"), "embedded file of that name");
}

}  // namespace
}  // namespace hearth
