// The same model is recognised under another name, split or laid out otherwise; another is not.
#include "runtime/model_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/model_copy.h"

namespace hearth::testing {
namespace {

using profiler::ModelIdentity;
using runtime::identity_of;
using ::testing::HasSubstr;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe-kquants.gguf";
constexpr const char* kExperts = "blk.1.ffn_up_exps.weight";

io::GgufFile open(const std::string& path) {
  return io::GgufFile::open(path, runtime::block_shape_of);
}

class ModelIdentityTest : public ::testing::Test {
 protected:
  ModelIdentity written() {
    copy.write(directory.file("copy.gguf"));
    return identity_of(open(directory.file("copy.gguf")));
  }
  void expect_difference(const std::string& text) {
    EXPECT_THAT(difference(written(), original).value_or("none"), HasSubstr(text));
  }

  const io::TemporaryDirectory directory;
  const ModelIdentity original = identity_of(open(kModel));
  ModelCopy copy{kModel};
};

TEST_F(ModelIdentityTest, SaysWhatTheModelIs) {
  EXPECT_EQ(original.architecture, "qwen3moe");
  EXPECT_EQ(original.name, "tiny-qwen3moe-kquants");
  EXPECT_EQ(original.layers, 2u);
  EXPECT_EQ(original.experts_per_layer, 3u);
  EXPECT_EQ(original.experts_used, 2u);
  // Layer 0: Q4_K, Q5_K and Q6_K; layer 1: Q2_K, Q3_K and Q4_K; 2.625, 3.4375, 4.5, 5.5 and 6.5625
  // bits each for 65536 values of 3 experts, 27.125 bits in all.
  EXPECT_EQ(original.formats, "Q4_K 33 %, Q6_K 24 %, Q5_K 20 %, Q3_K 13 %, Q2_K 10 %");
}

TEST_F(ModelIdentityTest, ANewNameOfTheFileChangesNothing) {
  std::filesystem::copy(kModel, directory.file("other.gguf"));
  EXPECT_EQ(identity_of(open(directory.file("other.gguf"))), original);
}

TEST_F(ModelIdentityTest, TheOrderOfKeysAndTensorsAndTheAlignmentChangeNothing) {
  copy.set("general.alignment", io::GgufValue(std::uint64_t{4096}));
  copy.set("general.name", io::GgufValue(std::string("tiny-qwen3moe-kquants")));  // now the last
  EXPECT_EQ(written(), original);
}

TEST_F(ModelIdentityTest, SplittingChangesNothing) {
  const std::size_t tensors = copy.tensors().size();
  copy.set("split.count", io::GgufValue(std::uint64_t{2}));
  copy.set("split.tensors.count", io::GgufValue(std::uint64_t{tensors}));
  for (const std::uint64_t part : {0, 1}) {
    copy.set("split.no", io::GgufValue(part));
    copy.write(directory.file(fmt::format("s-0000{}-of-00002.gguf", part + 1)),
               part == 0 ? 0 : tensors / 2, part == 0 ? tensors / 2 : tensors);
  }
  const io::GgufFile split = open(directory.file("s-00001-of-00002.gguf"));
  ASSERT_EQ(split.paths().size(), 2u);
  EXPECT_EQ(identity_of(split), original);
}

TEST_F(ModelIdentityTest, WhatAQuantisationWritesIsNotMetadataOfTheModel) {
  for (const char* key : {"general.file_type", "general.quantization_version",
                          "quantize.imatrix.entries_count", "general.quantized_by"})
    copy.set(key, io::GgufValue(std::uint64_t{77}));
  EXPECT_EQ(written(), original);
}

TEST_F(ModelIdentityTest, AnotherValueInTheMetadataIsAnotherModel) {
  copy.set("general.version", io::GgufValue(std::string("2")));
  expect_difference("other metadata");
}

TEST_F(ModelIdentityTest, ElementsOfArraysCount) {
  std::vector<std::string> tokens = copy.strings("tokenizer.ggml.tokens");
  std::swap(tokens[3], tokens[4]);
  copy.set("tokenizer.ggml.tokens", tokens);
  expect_difference("other metadata");
}

TEST_F(ModelIdentityTest, AnotherTypeOfOneTensorIsAnotherQuantisation) {
  TensorCopy& tensor = copy.tensor(kExperts);
  tensor.type_id = 0;  // f32
  tensor.data.assign(std::size_t{256} * 256 * 3 * 4, std::byte{0});
  expect_difference("is for another quantisation: F32 ");
}

TEST_F(ModelIdentityTest, AnotherShapeOfOneTensorIsSeen) {
  std::swap(copy.tensor("blk.0.attn_q_norm.weight").shape, copy.tensor("output_norm.weight").shape);
  std::swap(copy.tensor("blk.0.attn_q_norm.weight").data, copy.tensor("output_norm.weight").data);
  expect_difference("other tensors");
}

TEST_F(ModelIdentityTest, AnyByteOfASampleCounts) {
  const io::GgufFile file = open(kModel);
  const auto samples = runtime::weight_samples(file);
  ASSERT_EQ(samples.size(), 2u * 4u) << "a router and three tensors of experts in each layer";
  for (const runtime::WeightSample& sample : samples) {
    EXPECT_EQ(sample.bytes, runtime::kSampleBytes);
    TensorCopy& tensor = copy.tensor(sample.tensor->name);
    for (const std::uint64_t byte : {sample.offset, sample.offset + sample.bytes - 1}) {
      tensor.data[byte] ^= std::byte{1};
      expect_difference("other weights");
      tensor.data[byte] ^= std::byte{1};
    }
  }
  EXPECT_EQ(written(), original);
}

TEST_F(ModelIdentityTest, TheHeaderAloneGivesAllButTheSamples) {
  // Without any weights behind it.
  ModelIdentity header = runtime::identity_of_header(open(kModel));
  EXPECT_EQ(header.samples, 0u);
  EXPECT_EQ(difference(header, original), std::nullopt);
  header.samples = original.samples;
  EXPECT_EQ(header, original);
}

TEST_F(ModelIdentityTest, AbsurdNumbersAreErrors) {
  copy.set("qwen3moe.block_count", io::GgufValue(std::uint64_t{1} << 20));
  EXPECT_THROW(written(), Error);
  copy.set("qwen3moe.block_count", io::GgufValue(std::uint64_t{2}));
  copy.set("qwen3moe.expert_used_count", io::GgufValue(std::uint64_t{4}));
  EXPECT_THROW(written(), Error);
}

}  // namespace
}  // namespace hearth::testing
