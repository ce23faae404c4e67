#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "tests/io/support/gguf_image.h"
#include "tests/io/support/gguf_walk.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::io {
namespace {

using ::testing::HasSubstr;

struct Part {
  std::uint16_t number = 0;
  std::uint16_t count = 3;
  std::int32_t tensors = 3;
  std::string tensor = {};  // "tensor" and the number if empty
};

GgufImage part_image(const Part& part) {
  GgufImage image;
  image.header(1, 4);
  image.key("split.no", GgufType::kUint16).number(part.number);
  image.key("split.count", GgufType::kUint16).number(part.count);
  image.key("split.tensors.count", GgufType::kInt32).number(part.tensors);
  image.key("name", GgufType::kString).text(fmt::format("part {}", part.number));
  image.tensor(part.tensor.empty() ? fmt::format("tensor{}", part.number) : part.tensor, {2},
               kPlainType, 0);
  return image.pad().data(8);
}

class GgufSplitTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const Part& part) {
    return directory_.write(name, part_image(part).bytes());
  }
  std::string write(const Part& part) {
    return write(fmt::format("m-{:05}-of-{:05}.gguf", part.number + 1, part.count), part);
  }
  void expect_error(const std::string& path, ErrorCode code, const std::string& message) {
    try {
      GgufFile::open(path, test_block_shape);
      FAIL() << "accepted, expected: " << message;
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(GgufSplitTest, TheFirstPartOpensAll) {
  const std::string first = write({.number = 0});
  const std::string second = write({.number = 1});
  const std::string third = write({.number = 2});
  const GgufFile file = GgufFile::open(first, test_block_shape);
  EXPECT_EQ(file.paths(), (std::vector<std::string>{first, second, third}));
  EXPECT_EQ(file.metadata().string("name"), "part 0");
  EXPECT_EQ(file.file_bytes().count, 3 * std::filesystem::file_size(first));
  ASSERT_EQ(file.tensors().size(), 3u);
  for (std::uint32_t i = 0; i < 3; ++i) {
    const GgufTensor* tensor = file.find(fmt::format("tensor{}", i));
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->file, i);
    EXPECT_EQ(tensor->offset + tensor->size->count, std::filesystem::file_size(file.paths()[i]));
  }
  walk_metadata(file.metadata());
}

TEST_F(GgufSplitTest, AMissingPartIsNamed) {
  const std::string first = write({.number = 0});
  write({.number = 2});
  expect_error(first, ErrorCode::kNotFound,
               directory_.file("m-00002-of-00003.gguf") + ": missing, part 2 of 3");
}

TEST_F(GgufSplitTest, ALaterPartPointsToTheFirst) {
  write({.number = 0});
  expect_error(write({.number = 1}), ErrorCode::kUsage,
               "part 2 of 3 of a split model; open the first part, " +
                   directory_.file("m-00001-of-00003.gguf"));
  expect_error(write("renamed.gguf", {.number = 1}), ErrorCode::kUsage, "open the first part");
}

TEST_F(GgufSplitTest, TheFirstPartMustBeNamedAsSuch) {
  expect_error(write("renamed.gguf", {.number = 0}), ErrorCode::kUsage,
               "must end in -00001-of-00003.gguf");
  expect_error(write("m-00001-of-00004.gguf", {.number = 0}), ErrorCode::kUsage,
               "must end in -00001-of-00003.gguf");
}

TEST_F(GgufSplitTest, PartsThatDisagreeAreErrors) {
  const std::string first = write({.number = 0});
  write({.number = 2});
  const std::string second = "m-00002-of-00003.gguf";
  write(second, {.number = 2, .tensor = "tensor1"});
  expect_error(first, ErrorCode::kBadFile, "named part 2 of 3, but says that it is part 3 of 3");
  write(second, {.number = 1, .count = 5});
  expect_error(first, ErrorCode::kBadFile, "named part 2 of 3, but says that it is part 2 of 5");
  write(second, {.number = 1, .tensor = "tensor0"});
  expect_error(first, ErrorCode::kBadFile, second + ": tensor 'tensor0' is there twice");
}

TEST_F(GgufSplitTest, TheTensorsOfAllPartsAreCounted) {
  const std::string first = write({.number = 0, .tensors = 4});
  write({.number = 1, .tensors = 4});
  write({.number = 2, .tensors = 4});
  expect_error(first, ErrorCode::kBadFile,
               "its 3 parts hold 3 tensors where split.tensors.count says 4");
}

TEST_F(GgufSplitTest, ImpossibleNumbersAreErrors) {
  expect_error(write("m.gguf", {.number = 3, .count = 3}), ErrorCode::kBadFile,
               "claims to be part");
  expect_error(write("m.gguf", {.number = 65535, .count = 2}), ErrorCode::kBadFile,
               "claims to be part");
}

TEST_F(GgufSplitTest, ACountOfZeroOrOneIsAWholeModel) {
  for (const std::uint16_t count : {std::uint16_t{0}, std::uint16_t{1}}) {
    const std::string path = write("whole.gguf", {.number = 0, .count = count});
    EXPECT_EQ(GgufFile::open(path, test_block_shape).paths().size(), 1u);
  }
}

}  // namespace
}  // namespace hearth::io
