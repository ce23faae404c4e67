#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/io/support/gguf_image.h"
#include "tests/io/support/gguf_walk.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::io {
namespace {

template <typename T>
const std::vector<T>& array_of(const GgufMetadata& metadata, std::string_view key) {
  return std::get<std::vector<T>>(
      std::get<std::shared_ptr<GgufArray>>(*metadata.find(key))->values);
}

template <typename T>
T scalar_of(const GgufMetadata& metadata, std::string_view key) {
  return std::get<T>(*metadata.find(key));
}

void expect_complete(const GgufFile& file) {
  using Unsigned = std::uint64_t;
  using Signed = std::int64_t;
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(metadata.entries().size(), 26u);
  EXPECT_EQ(scalar_of<Unsigned>(metadata, "u8"), 200u);
  EXPECT_EQ(scalar_of<Signed>(metadata, "i8"), -100);
  EXPECT_EQ(scalar_of<Unsigned>(metadata, "u16"), 60000u);
  EXPECT_EQ(scalar_of<Signed>(metadata, "i16"), -30000);
  EXPECT_EQ(scalar_of<Unsigned>(metadata, "u32"), 4000000000u);
  EXPECT_EQ(scalar_of<Signed>(metadata, "i32"), -2000000000);
  EXPECT_EQ(scalar_of<Unsigned>(metadata, "u64"), std::numeric_limits<Unsigned>::max());
  EXPECT_EQ(scalar_of<Signed>(metadata, "i64"), std::numeric_limits<Signed>::min());
  EXPECT_EQ(scalar_of<double>(metadata, "f32"), 1.5);
  EXPECT_EQ(scalar_of<double>(metadata, "f64"), 0.1);
  EXPECT_TRUE(scalar_of<bool>(metadata, "bool"));
  EXPECT_EQ(scalar_of<std::string>(metadata, "string"), "hearth");
  EXPECT_EQ(array_of<Unsigned>(metadata, "u8s"), (std::vector<Unsigned>{1, 255}));
  EXPECT_EQ(array_of<Signed>(metadata, "i8s"), (std::vector<Signed>{1, -128}));
  EXPECT_EQ(array_of<Unsigned>(metadata, "u16s"), (std::vector<Unsigned>{65535}));
  EXPECT_EQ(array_of<Signed>(metadata, "i16s"), (std::vector<Signed>{-32768}));
  EXPECT_EQ(array_of<Unsigned>(metadata, "u32s"), (std::vector<Unsigned>{7, 8}));
  EXPECT_EQ(array_of<Signed>(metadata, "i32s"), (std::vector<Signed>{-7}));
  EXPECT_EQ(array_of<Unsigned>(metadata, "u64s"), (std::vector<Unsigned>{Unsigned{1} << 63}));
  EXPECT_EQ(array_of<Signed>(metadata, "i64s"), (std::vector<Signed>{-1}));
  EXPECT_EQ(array_of<double>(metadata, "f32s"), (std::vector<double>{0.5, -0.25}));
  EXPECT_EQ(array_of<double>(metadata, "f64s"), (std::vector<double>{1e300}));
  EXPECT_EQ(array_of<bool>(metadata, "bools"), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(array_of<std::string>(metadata, "strings"), (std::vector<std::string>{"a", "", "bc"}));
  EXPECT_TRUE(array_of<std::string>(metadata, "nothing").empty());

  ASSERT_EQ(file.tensors().size(), 3u);
  const GgufTensor& experts = file.tensors()[2];
  EXPECT_EQ(experts.name, "experts");
  EXPECT_EQ(experts.dimensions, 3u);
  EXPECT_EQ(experts.shape, (std::array<std::uint64_t, 4>{32, 1, 2, 1}));
  EXPECT_EQ(experts.type_id, kBlock32Type);
  EXPECT_EQ(experts.size, Bytes(68));
  EXPECT_EQ(experts.offset, file.file_bytes().count - 68);
  EXPECT_EQ(experts.offset % 64, 0u);
  EXPECT_EQ(file.find("plain"), &file.tensors()[0]);
  EXPECT_EQ(file.find("absent"), nullptr);
  walk(file);
}

TEST(GgufParse, ReadsEveryTypeFromMemory) {
  const GgufFile file = GgufFile::parse(complete_image().bytes(), "image", test_block_shape);
  EXPECT_EQ(file.name(), "image");
  EXPECT_EQ(file.version(), 3u);
  expect_complete(file);
}

TEST(GgufParse, ReadsTheSameFromAFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("model.gguf", complete_image().bytes());
  const GgufFile file = GgufFile::open(path, test_block_shape);
  EXPECT_EQ(file.paths(), std::vector<std::string>{path});
  expect_complete(file);
}

TEST(GgufParse, ReadsADirectoryLargerThanItsBuffer) {
  const TemporaryDirectory directory;
  constexpr std::uint64_t kTokens = 50000;
  GgufImage image;
  image.header(0, 1).array("tokens", GgufType::kString, kTokens);
  for (std::uint64_t i = 0; i < kTokens; ++i) image.text(std::to_string(i * i));
  const GgufFile file =
      GgufFile::open(directory.write("vocabulary.gguf", image.bytes()), test_block_shape);
  const std::vector<std::string>& tokens = *file.metadata().strings("tokens");
  ASSERT_EQ(tokens.size(), kTokens);
  for (std::uint64_t i = 0; i < kTokens; ++i) ASSERT_EQ(tokens[i], std::to_string(i * i));
}

TEST(GgufParse, VersionTwoHasTheSameLayout) {
  GgufImage image;
  image.header(1, 0, 2).tensor("t", {1}, kPlainType, 0).pad().data(4);
  const GgufFile file = GgufFile::parse(image.bytes(), "image", test_block_shape);
  EXPECT_EQ(file.version(), 2u);
  EXPECT_EQ(file.tensors().at(0).size, Bytes(4));
}

// A model may hold formats this program does not know, in tensors it does not use.
TEST(GgufParse, ListsATensorOfUnknownTypeWithoutASize) {
  for (const std::uint32_t type : {4u, 5u, 31u, 36u, 1000u, 0xffffffffu}) {
    GgufImage image;
    image.header(1, 0).tensor("t", {7}, type, 0).pad().data(1);
    const GgufFile file = GgufFile::parse(image.bytes(), "image", test_block_shape);
    EXPECT_FALSE(file.tensors().at(0).size.has_value());
    EXPECT_EQ(file.tensors().at(0).type_id, type);
    walk(file);
  }
}

TEST(GgufParse, AcceptsAWideAlignmentAndTensorsInAnyOrderWithGaps) {
  GgufImage image;
  image.header(2, 1).key("general.alignment", GgufType::kUint64).number(std::uint64_t{128});
  image.tensor("second", {1}, kPlainType, 256).tensor("first", {2}, kPlainType, 0);
  image.pad(128).data(260);
  const GgufFile file = GgufFile::parse(image.bytes(), "image", test_block_shape);
  EXPECT_EQ(file.tensors()[0].offset, file.tensors()[1].offset + 256);
  walk(file);
}

TEST(GgufParse, LongKeysAndNamesUpToTheLimits) {
  GgufImage image;
  image.header(1, 1).key(std::string(65535, 'k'), GgufType::kBool).number(std::uint8_t{0});
  image.tensor(std::string(256, 't'), {1}, kPlainType, 0).pad().data(4);
  const GgufFile file = GgufFile::parse(image.bytes(), "image", test_block_shape);
  EXPECT_EQ(file.metadata().boolean(std::string(65535, 'k')), false);
  EXPECT_NE(file.find(std::string(256, 't')), nullptr);
}

}  // namespace
}  // namespace hearth::io
