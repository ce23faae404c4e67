// Damage to the directory of a whole model: reader, architecture, memory plan and tokenizer answer
// or throw hearth::Error in one line, and take no memory for what is not there.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/random.h"
#include "runtime/engine.h"
#include "runtime/model_needs.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/recorded_run.h"
#include "tests/sanitized.h"

namespace hearth::testing {
namespace {

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
// With keys and tensors that the others have not.
const std::string kOtherModels[] = {
    HEARTH_SOURCE_DIR "/tests/golden/gpt-oss.gguf", HEARTH_SOURCE_DIR "/tests/golden/glm4moe.gguf",
    HEARTH_SOURCE_DIR "/tests/golden/llama4.gguf", HEARTH_SOURCE_DIR "/tests/golden/gemma4.gguf"};

std::vector<std::byte> model_bytes(const std::string& path = kModel) {
  const std::string text = read_text(path);
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

// Bytes in front of the data of the first tensor.
std::size_t header_bytes(const std::string& path = kModel) {
  const io::GgufFile file = io::GgufFile::open(path, runtime::block_shape_of);
  std::uint64_t first = file.file_bytes().count;
  for (const io::GgufTensor& tensor : file.tensors()) first = std::min(first, tensor.offset);
  return first;
}

void expect_one_line(const Error& error) {
  const std::string line = error.what();
  EXPECT_EQ(line.find('\n'), line.npos) << line;
  EXPECT_NE(line.find("model"), line.npos) << line;  // the name of the file
}

// Everything that happens to a file before weights are read. Whether it was accepted.
bool accepted(std::span<const std::byte> bytes) {
  try {
    const io::GgufFile file = io::GgufFile::parse(bytes, "model", runtime::block_shape_of);
    const auto model = runtime::build_model(file);
    const auto tokenizer = runtime::Tokenizer::from_metadata(file.metadata());
    tokenizer->encode("a text of little worth", {});
    const profiler::ModelNeeds needs =
        runtime::model_needs(file, *model, {.batch = 512, .threads = 2, .alignment = 512});
    const profiler::PlanRequest request{.available = kGiB, .context = 4096, .threads = 2};
    EXPECT_LE(plan_placement(needs, request, nullptr, nullptr).ram.total(), kGiB);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBudget) expect_one_line(error);
    return false;
  }
}

TEST(ModelDamage, EveryTruncationIsAnError) {
  const io::TemporaryDirectory directory;
  const std::vector<std::byte> bytes = model_bytes();
  const std::string path = directory.write("model.gguf", bytes);
  const std::size_t header = header_bytes();
  for (std::size_t length = bytes.size() - 1; length > 0;) {
    std::filesystem::resize_file(path, length);
    try {
      const runtime::Engine engine({.model_path = path, .threads = 1});
      FAIL() << "accepted at length " << length;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile) << error.what();
      expect_one_line(error);
    }
    // All lengths of the header, a sample of those of the data.
    length -= length > header + 64 ? std::min<std::size_t>(1009, length - header - 64) : 1;
  }
}

TEST(ModelDamage, RandomBitFlips) {
  std::vector<std::byte> bytes = model_bytes();
  const std::size_t header = header_bytes();
  ASSERT_TRUE(accepted(bytes));
  const Bytes peak = runtime::peak_memory();
  Random random(20261120);
  int survivors = 0;
  for (int i = 0; i < 30000; ++i) {
    std::vector<std::uint64_t> bits(1 + random.below(3));
    for (std::uint64_t& bit : bits) bit = random.below(8 * header);
    const auto flip = [&] {
      for (const std::uint64_t bit : bits) bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    };
    flip();
    survivors += accepted(bytes);
    flip();
  }
  // Flips in names that nothing asks for go unseen, flips in shapes do not.
  EXPECT_GT(survivors, 300);
  EXPECT_LT(survivors, 29700);
  // Of a file of a quarter of a MiB nothing takes more than a few times that.
  if (!kSanitized) {
    EXPECT_LT(runtime::peak_memory() - peak, Bytes(16 << 20));
  }
}

// The numbers of a model that decide how much is allocated, at values between plausible and absurd.
void expect_absurd_numbers_in_order(const std::string& path) {
  SCOPED_TRACE(path);
  const io::GgufFile file = io::GgufFile::open(path, runtime::block_shape_of);
  const std::vector<std::byte> original = model_bytes(path);
  ASSERT_TRUE(accepted(original));
  for (const auto& entry : file.metadata().entries()) {
    if (!std::holds_alternative<std::uint64_t>(entry.value)) continue;
    // key, type, then the value: found by the key, which occurs once.
    const auto at = std::search(
        original.begin(), original.end(), reinterpret_cast<const std::byte*>(entry.key.data()),
        reinterpret_cast<const std::byte*>(entry.key.data() + entry.key.size()));
    ASSERT_NE(at, original.end());
    const auto value = static_cast<std::size_t>(at - original.begin()) + entry.key.size() + 4;
    for (int shift = 0; shift <= 32; ++shift) {
      for (const int off : {-1, 0, 1}) {
        std::vector<std::byte> bytes = original;
        const auto number = static_cast<std::uint32_t>((std::uint64_t{1} << shift) + off);
        std::memcpy(bytes.data() + value, &number, sizeof(number));
        accepted(bytes);
      }
    }
  }
}

TEST(ModelDamage, AbsurdNumbersAreRefusedOrPlanned) {
  expect_absurd_numbers_in_order(kModel);
  for (const std::string& path : kOtherModels) expect_absurd_numbers_in_order(path);
}

TEST(ModelDamage, RandomBitFlipsInOtherModels) {
  Random random(20261121);
  for (const std::string& path : kOtherModels) {
    SCOPED_TRACE(path);
    std::vector<std::byte> bytes = model_bytes(path);
    const std::size_t header = header_bytes(path);
    for (int i = 0; i < 500; ++i) {
      const std::uint64_t bit = random.below(8 * header);
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
      accepted(bytes);
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
}

}  // namespace
}  // namespace hearth::testing
