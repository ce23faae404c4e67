// A copy of a model with outliers in its keys computes what the model computes, and shows what
// rotation is worth.
#include "tools/hearth/key_outliers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "tests/tools/support/expect_error.h"
#include "tools/hearth/kv_quality.h"
#include "tools/hearth/model_summary.h"

namespace hearth::tools::testing {
namespace {

using kernels::KvFormat;
using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;

const std::string kDemo = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";
const std::string kGolden = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
constexpr std::uint32_t kTokens = 96;  // of a chunk

EngineOptions options_of(const std::string& path, KvFormat keys) {
  EngineOptions options{.model_path = path,
                        .budget = {.expert_share = 1.0},
                        .context = kTokens,
                        .threads = 2,
                        .key_format = keys,
                        .value_format = KvFormat::kF32};
  options.kv_tail = 0;
  return options;
}

std::vector<float> all_logits(const std::string& path) {
  Engine engine(options_of(path, KvFormat::kF32));
  Session session(engine);
  std::vector<TokenId> tokens;
  for (TokenId token = 0; token < 40; ++token) tokens.push_back(7 * token % 150);
  std::vector<float> all;
  session.evaluate(tokens, 0, [&](std::uint32_t, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
  });
  return all;
}

std::string with_outliers(const std::string& from, const std::string& name,
                          const KeyOutliers& outliers) {
  const std::string path = temporary_path(name);
  write_with_key_outliers(from, path, outliers);
  return path;
}

TEST(KeyOutliers, APowerOfTwoChangesNoBitOfTheLogits) {
  EXPECT_EQ(all_logits(kGolden),
            all_logits(with_outliers(kGolden, "exact.gguf", {.channels = 6, .gain = 64})));
}

// Any other gain rounds each of the two weights, and each product with them, by half a unit of
// 2^-24: scores that differ by some 1e-6 of themselves.
TEST(KeyOutliers, AnyGainChangesTheLogitsByRoundingOnly) {
  const std::vector<float> exact = all_logits(kGolden);
  const std::vector<float> rounded =
      all_logits(with_outliers(kGolden, "rounded.gguf", {.channels = 4, .gain = 10}));
  double squares = 0, differences = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    squares += std::pow(exact[i], 2);
    differences += std::pow(rounded[i] - exact[i], 2);
  }
  EXPECT_GT(differences, 0);
  EXPECT_LT(std::sqrt(differences / squares), 0.02);  // 8-bit activations may round the other way
}

TEST(KeyOutliers, AreWhatRotationIsFor) {
  const std::string path = with_outliers(kDemo, "outliers.gguf", {});
  Engine exact(options_of(path, KvFormat::kF32));
  Session base(exact);
  std::string text = read_file(HEARTH_SOURCE_DIR "/models/eval/prose.txt").substr(0, 2000);
  KvQuality quality(base, exact.tokenizer().encode(text, {}),
                    {.context = kTokens, .most_chunks = 2}, [] {});
  const auto divergence = [&](const std::string& model, bool rotated) {
    EngineOptions options = options_of(model, KvFormat::kQ4_0);
    options.kv_rotation = rotated;
    Engine engine(options);
    Session session(engine);
    return quality.of(session).mean();
  };
  EXPECT_NEAR(quality.of(base).mean(), 0, 1e-6);
  const double rotated = divergence(path, true), plain = divergence(path, false);
  EXPECT_GT(rotated, 0);
  EXPECT_GT(plain, 3 * rotated);
  // The reference is the model itself, whose keys have no such outliers.
  EXPECT_LT(divergence(kDemo, false), plain / 3);
}

TEST(KeyOutliers, AreInThoseChannelsOnlyAndInPairs) {
  const std::string path = with_outliers(kGolden, "pairs.gguf", {.channels = 4, .gain = 32});
  const auto norm = [](const std::string& file, const std::string& name) {
    const io::GgufFile model = open_model_file(file);
    const io::GgufTensor* tensor = model.find(name);
    const std::string bytes = read_file(file).substr(tensor->offset, tensor->size->count);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  const auto before = norm(kGolden, "blk.1.attn_k_norm.weight");
  const auto after = norm(path, "blk.1.attn_k_norm.weight");
  const auto queries_before = norm(kGolden, "blk.1.attn_q_norm.weight");
  const auto queries_after = norm(path, "blk.1.attn_q_norm.weight");
  std::size_t raised = 0;
  for (std::size_t c = 0; c < before.size(); ++c) {
    const bool larger = after[c] != before[c];
    raised += larger;
    EXPECT_EQ(after[c], larger ? before[c] * 32 : before[c]);
    EXPECT_EQ(queries_after[c], larger ? queries_before[c] / 32 : queries_before[c]);
    const std::size_t partner = (c + before.size() / 2) % before.size();
    EXPECT_EQ(after[partner] != before[partner], larger);
  }
  EXPECT_EQ(raised, 4u);
}

TEST(SynthCommand, CopiesAModelWithOutliers) {
  const std::string path = temporary_path("copy-with-outliers.gguf");
  const CommandResult result = run_hearth(
      {"synth", "-o", path, "--from", kGolden, "--key-outliers", "2", "--key-gain", "8"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(summarize(open_model_file(path)).name,
            summarize(open_model_file(kGolden)).name + ", 2 key channels times 8");
}

TEST(SynthCommand, RefusesOutliersThatCannotBe) {
  const std::string path = temporary_path("never.gguf");
  const auto refused = [&](std::vector<std::string> flags, std::string_view part) {
    flags.insert(flags.begin(), {"synth", "-o", path});
    expect_error(run_hearth(flags), kMisused, {part});
  };
  refused({"--from", kGolden, "--key-outliers", "3"}, "--key-outliers 3");
  refused({"--from", kGolden, "--key-outliers", "4096"}, "--key-outliers 4096");
  refused({"--from", kGolden, "--key-gain", "1"}, "--key-gain 1");
  refused({"--from", kGolden, "--layers", "2"}, "--layers has no effect");
  refused({"--from", kGolden, "--router-skew", "2"}, "--router-skew has no effect");
  refused({"--from", kGolden, "--threads", "2"}, "--threads has no effect");
  refused({"--key-gain", "4"}, "--key-gain changes a copy of a model");
}

}  // namespace
}  // namespace hearth::tools::testing
