#include "io/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/error.h"
#include "tests/io/support/gguf_image.h"
#include "tests/io/support/gguf_walk.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::io {
namespace {

using Unsigned = std::uint64_t;
using Signed = std::int64_t;

template <typename T>
GgufValue array(std::vector<T> values) {
  return std::make_shared<GgufArray>(GgufArray{std::move(values)});
}

bool same_value(const GgufValue& a, const GgufValue& b) {
  const auto* array_a = std::get_if<std::shared_ptr<GgufArray>>(&a);
  const auto* array_b = std::get_if<std::shared_ptr<GgufArray>>(&b);
  if (array_a && array_b) return (*array_a)->values == (*array_b)->values;
  return a == b;
}

std::vector<std::byte> pattern(std::size_t size, std::uint8_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + i * 7);
  return bytes;
}

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string tensor_bytes(const GgufFile& file, const std::string& name) {
  const GgufTensor& tensor = *file.find(name);
  return contents(file.paths()[tensor.file]).substr(tensor.offset, tensor.size->count);
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(GgufWriter, EveryKindOfValueComesBack) {
  const std::map<std::string, GgufValue> values = {
      {"unsigned.32", Unsigned{0xffffffff}},
      {"unsigned.64", Unsigned{0x100000000}},
      {"signed.32", Signed{std::numeric_limits<std::int32_t>::min()}},
      {"signed.64", Signed{std::numeric_limits<std::int32_t>::min()} - 1},
      {"real", 0.5},
      {"flag", true},
      {"text", std::string("na\xc3\xafve\0text", 11)},
      {"unsigneds.32", array<Unsigned>({0, 0xffffffff})},
      {"unsigneds.64", array<Unsigned>({0, 0x100000000})},
      {"signeds.32", array<Signed>({-1, 1})},
      {"signeds.64", array<Signed>({-1, Signed{1} << 40})},
      {"reals", array<double>({0.25, -1e30f})},
      {"flags", array<bool>({true, false, true})},
      {"texts", array<std::string>({"", "a", std::string(100000, 'x')})},
      {"none", array<Unsigned>({})},
  };
  const TemporaryDirectory directory;
  GgufWriter writer(directory.file("m.gguf"));
  for (const auto& [key, value] : values) writer.set(key, value);
  writer.finish();
  const GgufFile file = GgufFile::open(directory.file("m.gguf"), test_block_shape);
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.metadata().entries().size(), values.size());
  for (const auto& [key, value] : values) {
    ASSERT_TRUE(file.metadata().has(key)) << key;
    EXPECT_TRUE(same_value(*file.metadata().find(key), value)) << key;
  }
}

// Byte for byte, in the narrowest widths, with the tensors and the end padded.
TEST(GgufWriter, TheLayoutIsExact) {
  const TemporaryDirectory directory;
  GgufWriter writer(directory.file("m.gguf"));
  writer.set("u32", Unsigned{0xffffffff});
  writer.set("u64", Unsigned{0x100000000});
  writer.set("i32", Signed{-1});
  writer.set("i64", Signed{0x80000000});
  writer.set("f32", 0.5);
  writer.set("bool", false);
  writer.set("u32s", array<Unsigned>({1, 2}));
  writer.set("i64s", array<Signed>({1, Signed{1} << 40}));
  writer.set("f32s", array<double>({0.5}));
  writer.set("bools", array<bool>({false, true}));
  writer.set("strings", array<std::string>({"a", ""}));
  writer.declare("first", std::array<Unsigned, 1>{3}, kPlainType, Bytes(12));
  writer.declare("second", std::array<Unsigned, 2>{32, 1}, kBlock32Type, Bytes(34));
  writer.append(std::vector<std::byte>(12, std::byte{0x5a}));
  writer.append(std::vector<std::byte>(34, std::byte{0x5a}));
  writer.finish();

  using Type = GgufType;
  GgufImage expected;
  expected.header(2, 11);
  expected.key("u32", Type::kUint32).number(std::uint32_t{0xffffffff});
  expected.key("u64", Type::kUint64).number(std::uint64_t{0x100000000});
  expected.key("i32", Type::kInt32).number(std::int32_t{-1});
  expected.key("i64", Type::kInt64).number(std::int64_t{0x80000000});
  expected.key("f32", Type::kFloat32).number(0.5f);
  expected.key("bool", Type::kBool).number(std::uint8_t{0});
  expected.array("u32s", Type::kUint32, 2).number(std::uint32_t{1}).number(std::uint32_t{2});
  expected.array("i64s", Type::kInt64, 2).number(std::int64_t{1}).number(std::int64_t{1} << 40);
  expected.array("f32s", Type::kFloat32, 1).number(0.5f);
  expected.array("bools", Type::kBool, 2).raw(std::string_view("\0\1", 2));
  expected.array("strings", Type::kString, 2).text("a").text("");
  expected.tensor("first", {3}, kPlainType, 0).tensor("second", {32, 1}, kBlock32Type, 32);
  expected.pad().data(12).pad().data(34).pad();
  EXPECT_TRUE(contents(directory.file("m.gguf")) == text_of(expected.bytes()));
}

TEST(GgufWriter, TensorsAreStreamedInPiecesOfAnySize) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("m.gguf");
  // The last one is larger than any buffer of the writer.
  const std::vector<std::byte> plain = pattern(12, 1);
  const std::vector<std::byte> blocks = pattern(136, 2);
  const std::vector<std::byte> large = pattern(4 * 1000 * 1000, 3);
  GgufWriter writer(path);
  writer.declare("plain", std::array<Unsigned, 1>{3}, kPlainType, Bytes(plain.size()));
  writer.declare("blocks", std::array<Unsigned, 3>{32, 2, 2}, kBlock32Type, Bytes(blocks.size()));
  writer.declare("large", std::array<Unsigned, 2>{1000, 1000}, kPlainType, Bytes(large.size()));
  writer.append(plain);
  for (const std::byte& byte : blocks) writer.append({&byte, 1});
  writer.append(std::span(large).first(1234567));
  writer.append(std::span(large).subspan(1234567));
  writer.finish();

  const GgufFile file = GgufFile::open(path, test_block_shape);
  walk(file);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.find("blocks")->shape, (std::array<Unsigned, 4>{32, 2, 2, 1}));
  EXPECT_EQ(file.find("blocks")->dimensions, 3u);
  EXPECT_EQ(tensor_bytes(file, "plain"), text_of(plain));
  EXPECT_EQ(tensor_bytes(file, "blocks"), text_of(blocks));
  EXPECT_TRUE(tensor_bytes(file, "large") == text_of(large));
  EXPECT_EQ(file.file_bytes().count % 32, 0u);
}

TEST(GgufWriter, TheAlignmentKeyIsFollowed) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("m.gguf");
  GgufWriter writer(path);
  for (const char* name : {"a", "b"})
    writer.declare(name, std::array<Unsigned, 1>{1}, kPlainType, Bytes(4));
  writer.set("general.alignment", Unsigned{4096});
  writer.append(pattern(4, 1));
  writer.append(pattern(4, 2));
  writer.finish();
  const GgufFile file = GgufFile::open(path, test_block_shape);
  for (const GgufTensor& tensor : file.tensors()) EXPECT_EQ(tensor.offset % 4096, 0u);
  EXPECT_EQ(tensor_bytes(file, "b"), text_of(pattern(4, 2)));
}

// Keys, values and tensor sizes at random: what was written is what is read.
TEST(GgufWriter, RandomFilesComeBack) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("m.gguf");
  const bool ok =
      rc::check("written equals read",
                [&](const std::vector<Unsigned>& unsigneds, const std::vector<Signed>& signeds,
                    const std::vector<bool>& flags, const std::vector<std::string>& texts,
                    const std::vector<float>& reals) {
                  GgufMetadata metadata;
                  metadata.set("unsigneds", array(unsigneds));
                  metadata.set("signeds", array(signeds));
                  metadata.set("flags", array(flags));
                  metadata.set("reals", array(std::vector<double>(reals.begin(), reals.end())));
                  for (std::size_t i = 0; i < texts.size(); ++i)
                    metadata.set(fmt::format("{}.{}", texts[i], i), texts[i]);
                  GgufWriter writer(path);
                  for (const GgufMetadata::Entry& entry : metadata.entries())
                    writer.set(entry.key, entry.value);
                  const auto sizes =
                      *rc::gen::container<std::vector<Unsigned>>(rc::gen::inRange<Unsigned>(1, 99));
                  for (std::size_t i = 0; i < sizes.size(); ++i)
                    writer.declare(fmt::format("t{}", i), std::span(&sizes[i], 1), kPlainType,
                                   Bytes(4 * sizes[i]));
                  for (std::size_t i = 0; i < sizes.size(); ++i)
                    writer.append(pattern(4 * sizes[i], static_cast<std::uint8_t>(i)));
                  writer.finish();

                  const GgufFile file = GgufFile::open(path, test_block_shape);
                  walk(file);
                  RC_ASSERT(file.metadata().entries().size() == metadata.entries().size());
                  for (const GgufMetadata::Entry& entry : metadata.entries())
                    RC_ASSERT(same_value(*file.metadata().find(entry.key), entry.value));
                  RC_ASSERT(file.tensors().size() == sizes.size());
                  for (std::size_t i = 0; i < sizes.size(); ++i)
                    RC_ASSERT(tensor_bytes(file, fmt::format("t{}", i)) ==
                              text_of(pattern(4 * sizes[i], static_cast<std::uint8_t>(i))));
                });
  EXPECT_TRUE(ok);
}

TEST(GgufWriter, TheNameAppearsOnlyWhenTheFileIsComplete) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("m.gguf", pattern(3, 0));
  {
    GgufWriter writer(path);
    writer.declare("t", std::array<Unsigned, 1>{2}, kPlainType, Bytes(8));
    writer.append(pattern(4, 1));
    EXPECT_TRUE(std::filesystem::exists(path + ".partial"));
  }
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  EXPECT_EQ(contents(path), text_of(pattern(3, 0)));
}

TEST(GgufWriter, FailuresNameTheFileAndTheReason) {
  const TemporaryDirectory directory;
  try {
    GgufWriter writer(directory.file("absent/m.gguf"));
    FAIL() << "created in a directory that does not exist";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THAT(error.what(),
                testing::HasSubstr("m.gguf.partial: cannot be created: No such file"));
  }
  // A limit on the size of files stands for a full disk.
  const std::string path = directory.file("m.gguf");
  GgufWriter writer(path);
  writer.declare("t", std::array<Unsigned, 1>{1}, kPlainType, Bytes(4));
  writer.append(pattern(4, 1));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limited{10, before.rlim_max};
  const auto on_signal = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  try {
    writer.finish();
    FAIL() << "wrote to a full device";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THAT(error.what(), testing::HasSubstr("m.gguf.partial: cannot be written: File too"));
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, on_signal);
  EXPECT_FALSE(std::filesystem::exists(path));
}

// A rename would put a file where the device was; and through a link another model would be lost.
TEST(GgufWriter, DevicesAndWhatLinksLeadToStay) {
  EXPECT_THROW(GgufWriter("/dev/null"), Error);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  const TemporaryDirectory directory;
  const std::string other = directory.write("other.gguf", pattern(3, 0));
  std::filesystem::create_symlink("other.gguf", directory.file("m.gguf"));
  GgufWriter(directory.file("m.gguf")).finish();
  EXPECT_FALSE(std::filesystem::is_symlink(directory.file("m.gguf")));
  EXPECT_EQ(contents(other), text_of(pattern(3, 0)));
}

TEST(GgufWriterDeathTest, MisuseIsABug) {
  const TemporaryDirectory directory;
  GgufWriter writer(directory.file("m.gguf"));
  writer.declare("t", std::array<Unsigned, 1>{2}, kPlainType, Bytes(8));
  EXPECT_DEATH(writer.finish(), "current");
  EXPECT_DEATH(writer.append(pattern(9, 0)), "size");
  writer.append(pattern(4, 0));
  EXPECT_DEATH(writer.set("late", true), "in_data");
  EXPECT_DEATH(writer.finish(), "current");
}

}  // namespace
}  // namespace hearth::io
