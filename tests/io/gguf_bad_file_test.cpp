// Files that are wrong in one way each. The message must say what, where and what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "base/error.h"
#include "tests/io/support/gguf_image.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::io {
namespace {

using ::testing::HasSubstr;

constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();

void expect_error(const std::function<void()>& action, ErrorCode code, const std::string& message) {
  try {
    action();
    FAIL() << "accepted, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

void expect_bad(const GgufImage& image, const std::string& message,
                ErrorCode code = ErrorCode::kBadFile) {
  expect_error([&] { GgufFile::parse(image.bytes(), "image", test_block_shape); }, code, "image: ");
  expect_error([&] { GgufFile::parse(image.bytes(), "image", test_block_shape); }, code, message);
}

// A file of one key and no tensors, up to the value.
GgufImage one_key(std::string_view key, GgufType type) {
  GgufImage image;
  image.header(0, 1).key(key, type);
  return image;
}

// A file of one tensor with plenty of data.
GgufImage one_tensor(std::string_view name, std::initializer_list<std::uint64_t> shape,
                     std::uint32_t type = kPlainType, std::uint64_t offset = 0) {
  GgufImage image;
  image.header(1, 0).tensor(name, shape, type, offset).pad().data(4096);
  return image;
}

TEST(GgufBadFile, Magic) {
  GgufImage image;
  image.raw("<!DOCTYPE html><html>");
  expect_bad(image, "not a GGUF file (it begins with '<!DO')");
}

TEST(GgufBadFile, Versions) {
  expect_bad(GgufImage().header(0, 0, 0), "version is 0");
  expect_bad(GgufImage().header(0, 0, 1), "version 1 is not supported", ErrorCode::kUnsupported);
  expect_bad(GgufImage().header(0, 0, 4), "version 4 is not supported", ErrorCode::kUnsupported);
  expect_bad(GgufImage().header(0, 0, 0x02000000), "big-endian GGUF file (version 2)",
             ErrorCode::kUnsupported);
  expect_bad(GgufImage().header(0, 0, 0x03000000), "big-endian GGUF file (version 3)",
             ErrorCode::kUnsupported);
}

TEST(GgufBadFile, Counts) {
  for (const std::uint64_t count : {kMax, kMax - 1, std::uint64_t{1} << 63, std::uint64_t{1}}) {
    expect_bad(GgufImage().header(count, 0),
               fmt::format("the tensor directory claims {} entries", count));
    expect_bad(GgufImage().header(0, count), fmt::format("the metadata claims {} entries", count));
  }
}

TEST(GgufBadFile, Keys) {
  expect_bad(GgufImage().header(0, 1).number(kMax).raw(std::string(100, ' ')), "a key of 184467");
  expect_bad(GgufImage().header(0, 1).number(std::uint64_t{65536}).raw(std::string(70000, ' ')),
             "a key of 65536 bytes (at most 65535 are allowed)");
  expect_bad(one_key("", GgufType::kBool).number(std::uint8_t{1}).raw("  "), "an empty key");
  expect_bad(GgufImage()
                 .header(0, 2)
                 .key("same", GgufType::kUint8)
                 .number(std::uint8_t{1})
                 .key("same", GgufType::kUint8)
                 .number(std::uint8_t{1}),
             "the key 'same' a second time");
  expect_bad(GgufImage().header(0, 1).number(std::uint64_t{100}).raw("only this is there"),
             "truncated: the key/tensor directory needs 82 more bytes at byte 32");
}

TEST(GgufBadFile, ValueTypes) {
  for (const std::uint32_t type : {13u, 255u, 0x80000000u, 0xffffffffu}) {
    expect_bad(one_key("key", static_cast<GgufType>(type)).raw(std::string(64, ' ')),
               fmt::format("the key 'key' has the unknown value type {}", type));
    expect_bad(GgufImage()
                   .header(0, 1)
                   .array("key", static_cast<GgufType>(type), 1)
                   .raw(std::string(64, ' ')),
               fmt::format("the key 'key' has the unknown value type {}", type));
  }
  expect_bad(GgufImage().header(0, 1).array("key", GgufType::kArray, 1).raw(std::string(64, ' ')),
             "array of arrays", ErrorCode::kUnsupported);
}

TEST(GgufBadFile, Booleans) {
  expect_bad(one_key("flag", GgufType::kBool).number(std::uint8_t{2}), "neither 0 nor 1 but 2");
  expect_bad(GgufImage().header(0, 1).array("flags", GgufType::kBool, 3).raw("\1\1\xff"),
             "neither 0 nor 1 but 255");
}

TEST(GgufBadFile, ArrayAndStringLengths) {
  expect_bad(GgufImage().header(0, 1).array("a", GgufType::kUint64, 3).raw(std::string(23, ' ')),
             "the array 'a' claims 3 entries, more than the 23 bytes left at byte 49 can hold");
  expect_bad(one_key("s", GgufType::kString).number(kMax).raw("abc"),
             "needs 18446744073709551612 more bytes");
  expect_bad(GgufImage()
                 .header(0, 1)
                 .array("a", GgufType::kString, 2)
                 .text("fits")
                 .number(std::uint64_t{5})
                 .raw("four"),
             "needs 1 more bytes");
}

TEST(GgufBadFile, Alignment) {
  for (const std::uint32_t alignment : {0u, 1u, 4u, 24u, 33u, 0xffffffffu})
    expect_bad(one_key("general.alignment", GgufType::kUint32).number(alignment),
               fmt::format("general.alignment is {}", alignment));
  expect_bad(one_key("general.alignment", GgufType::kString).text("thirty-two"),
             "the key 'general.alignment' holds text");
  // 2^63 is a power of two, but no data can start there.
  expect_bad(GgufImage()
                 .header(1, 1)
                 .key("general.alignment", GgufType::kUint64)
                 .number(std::uint64_t{1} << 63)
                 .tensor("t", {1}, kPlainType, 0)
                 .data(64),
             "truncated: tensor 't'");
}

TEST(GgufBadFile, TensorNames) {
  expect_bad(one_tensor("", {1}), "an empty tensor name");
  expect_bad(one_tensor(std::string(257, 't'), {1}), "a tensor name of 257 bytes");
  GgufImage image;
  image.header(2, 0).tensor("same", {1}, kPlainType, 0).tensor("same", {1}, kPlainType, 32);
  expect_bad(image.pad().data(64), "tensor 'same' is there twice");
}

TEST(GgufBadFile, Shapes) {
  expect_bad(one_tensor("t", {}), "tensor 't' has 0 dimensions");
  expect_bad(one_tensor("t", {1, 1, 1, 1, 1}), "tensor 't' has 5 dimensions");
  expect_bad(one_tensor("t", {0}), "dimension 0 is 0");
  expect_bad(one_tensor("t", {4, 4, 0, 4}), "dimension 2 is 0");
  expect_bad(one_tensor("t", {std::uint64_t{1} << 63}), "overflows");
  expect_bad(one_tensor("t", {std::uint64_t{1} << 32, std::uint64_t{1} << 32}), "overflows");
  expect_bad(one_tensor("t", {std::uint64_t{1} << 62}), "has a size that overflows");
  // An unknown type has no size, but its element count must still be a number.
  expect_bad(one_tensor("t", {kMax, 3}, 99), "overflows");
  expect_bad(one_tensor("t", {33}, kBlock32Type), "rows of 33 values, no multiple of the 32");
  expect_bad(one_tensor("t", {128, 2}, kBlock256Type), "rows of 128 values");
}

TEST(GgufBadFile, Offsets) {
  expect_bad(one_tensor("t", {1}, kPlainType, 16), "starts at 16, no multiple of the alignment 32");
  expect_bad(one_tensor("t", {1}, kPlainType, kMax - 31), "has an offset that overflows");
  expect_bad(one_tensor("t", {1}, kPlainType, 4096), "truncated: tensor 't' needs 4164 bytes");
  expect_bad(one_tensor("t", {1}, 99, 4096), "truncated: tensor 't'");
  expect_bad(one_tensor("t", {1025}), "truncated: tensor 't' needs 4164 bytes, the file has 4160");
}

TEST(GgufBadFile, Overlap) {
  GgufImage image;
  image.header(2, 0).tensor("a", {9}, kPlainType, 0).tensor("b", {1}, kPlainType, 32);
  expect_bad(image.pad().data(64), "tensor 'b' overlaps tensor 'a'");
  GgufImage same;
  same.header(2, 0).tensor("a", {1}, 99, 32).tensor("b", {1}, 99, 32);
  expect_bad(same.pad().data(64), "overlaps tensor");
}

// Damaged text must not break the line or the terminal.
TEST(GgufBadFile, MessagesShowControlCharactersEscaped) {
  expect_bad(one_tensor("bad\n\x1b[2Jname", {0}), "tensor 'bad\\x0a\\x1b[2Jname'");
}

TEST(GgufBadFile, PartOfASplitModelIsNotParsedFromMemory) {
  expect_bad(one_key("split.count", GgufType::kUint16).number(std::uint16_t{2}),
             "one part of a split model", ErrorCode::kUnsupported);
}

TEST(GgufBadFile, PathsThatAreNotReadableFiles) {
  const TemporaryDirectory directory;
  const auto open = [](const std::string& path) {
    return [path] { GgufFile::open(path, test_block_shape); };
  };
  expect_error(open(directory.file("absent.gguf")), ErrorCode::kNotFound,
               "absent.gguf: no such file");
  expect_error(open(directory.file(".")), ErrorCode::kIo, "is a directory");
  expect_error(open(directory.write("empty.gguf", {})), ErrorCode::kBadFile,
               "empty.gguf: is empty");
  ASSERT_EQ(mkfifo(directory.file("pipe").c_str(), 0600), 0);
  expect_error(open(directory.file("pipe")), ErrorCode::kIo, "not a regular file");
  if (geteuid() == 0) return;  // may read everything
  const std::string secret = directory.write("secret.gguf", complete_image().bytes());
  ASSERT_EQ(chmod(secret.c_str(), 0), 0);
  expect_error(open(secret), ErrorCode::kIo, "Permission denied");
}

// What a model needs can be told before all of it was downloaded.
TEST(GgufBadFile, DataMayBeMissingWhereThatIsAskedFor) {
  const TemporaryDirectory directory;
  GgufImage image;
  image.header(1, 0).tensor("a", {1024}, kPlainType, 0).pad();
  const std::string path = directory.write("header.gguf", image.bytes());
  expect_error([&] { GgufFile::open(path, test_block_shape); }, ErrorCode::kBadFile, "truncated");
  const GgufFile file = GgufFile::open(path, test_block_shape, GgufFile::Data::kMayBeMissing);
  EXPECT_FALSE(file.has_data());
  EXPECT_EQ(file.file_bytes(), Bytes(file.tensors()[0].offset) + *file.tensors()[0].size);

  GgufImage absurd;
  absurd.header(1, 0).tensor("a", {1024}, kPlainType, std::uint64_t{1} << 48).pad();
  const std::string other = directory.write("absurd.gguf", absurd.bytes());
  expect_error([&] { GgufFile::open(other, test_block_shape, GgufFile::Data::kMayBeMissing); },
               ErrorCode::kBadFile, "beyond any file");
}

}  // namespace
}  // namespace hearth::io
