// Latents as keys and values in every format: an answer that depends on them and on nothing else,
// and how far it is from that of f32.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "runtime/logits_hash.h"
#include "runtime/session_file.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/heap_calls.h"
#include "tests/runtime/support/latent_model.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using kernels::KvFormat;
using runtime::Engine;
using runtime::EngineOptions;
using runtime::LogitsHash;
using runtime::Session;
using runtime::Timeline;

const std::string kGolden = HEARTH_SOURCE_DIR "/tests/golden/deepseek2-v3-f16";

class LatentFormats : public ::testing::Test {
 protected:
  void SetUp() override {
    write_latent_model(path_);
    tokens_ = nlohmann::json::parse(read_text(kGolden + ".json"))["token_ids"]
                  .get<std::vector<TokenId>>();
    while (tokens_.size() < 96) tokens_.push_back(tokens_[tokens_.size() - 40]);
  }

  static std::vector<kernels::KvFormatTraits> formats() {
    std::vector<kernels::KvFormatTraits> rows;
    for (const kernels::KvFormatTraits& row : kernels::kKvFormats)
      if (row.holds_latents()) rows.push_back(row);
    return rows;
  }
  EngineOptions options(KvFormat format, std::uint32_t tail) const {
    EngineOptions options{.model_path = path_,
                          .budget = {.expert_share = 1.0},
                          .context = 256,
                          .threads = 1,
                          .key_format = format,
                          .value_format = format};
    if (kernels::traits(format).quantized()) options.kv_tail = tail;
    return options;
  }

  const io::TemporaryDirectory directory_;
  const std::string path_ = directory_.file("latent.gguf");
  std::vector<TokenId> tokens_;
};

// Of all logits of the tokens.
std::uint64_t answer_of(Engine& engine, std::span<const TokenId> tokens) {
  Session session(engine);
  LogitsHash hash;
  session.evaluate(tokens, 0,
                   [&](std::uint32_t, std::span<const float> logits) { hash.add(logits); });
  return hash.value();
}

TEST_F(LatentFormats, TheAnswerDependsOnNothingElse) {
  std::set<std::uint64_t> answers;
  std::uint32_t tail = 0;
  for (const kernels::KvFormatTraits& row : formats()) {
    EngineOptions options = this->options(row.format, tail = (tail + 25) % 75);
    Engine simplest(options);
    const std::uint64_t expected = answer_of(simplest, tokens_);
    EXPECT_TRUE(answers.insert(expected).second) << row.name << " is another format";
    for (const std::uint32_t batch : {1u, 7u}) {
      SCOPED_TRACE(fmt::format("{}, tail {}, chunks of {}", row.name, tail, batch));
      options.batch = batch;
      options.threads = batch == 1 ? 2 : 3;
      options.budget = {.expert_share = 0.5};
      Engine engine(options);
      EXPECT_EQ(answer_of(engine, tokens_), expected);
    }
  }
}

// Of the root mean squares of all rows. In few rows another expert is chosen, which costs as much
// as other weights do.
double median_difference(const std::vector<float>& logits, const std::vector<float>& exact,
                         std::size_t rows) {
  const std::size_t width = exact.size() / rows;
  std::vector<double> of_rows;
  for (std::size_t row = 0; row < rows; ++row)
    of_rows.push_back(difference(std::span(logits).subspan(row * width, width),
                                 std::span(exact).subspan(row * width, width))
                          .rms);
  std::nth_element(of_rows.begin(), of_rows.begin() + static_cast<std::ptrdiff_t>(rows / 2),
                   of_rows.end());
  return of_rows[rows / 2];
}

// Rounding all activations to 8 bits in blocks of 32 costs at most 0.04 (tests/golden/README.md),
// so rounding the latents alone likewise must not cost more; a bit fewer makes steps twice as
// large. An f16 has steps of 2^-11 of the value, a bf16 of 2^-8: at most those of 8 bits.
TEST_F(LatentFormats, RoundingCostsWhatItsBitsCost) {
  const std::size_t pieces[] = {tokens_.size()};
  const auto logits_of = [&](KvFormat format) {
    Engine engine(options(format, 0));
    return record_run(engine, tokens_, pieces).logits;
  };
  const std::vector<float> exact = logits_of(KvFormat::kF32);
  for (const kernels::KvFormatTraits& row : formats()) {
    if (row.format == KvFormat::kF32) continue;
    const double bits = row.format == KvFormat::kF16 ? 11 : row.quantized() ? row.bits : 8;
    const double off = median_difference(logits_of(row.format), exact, tokens_.size());
    EXPECT_LE(off, 0.04 * std::exp2(8 - bits)) << row.name;
    EXPECT_GT(off, 0) << row.name;
    RecordProperty(std::string(row.name), fmt::format("{:.5f}", off));
  }
}

TEST_F(LatentFormats, ATokenAllocatesNothing) {
  EngineOptions options = this->options(KvFormat::kQ8_0, 32);
  options.threads = 2;
  Engine engine(options);
  Session session(engine);
  session.evaluate(std::span(tokens_).first(80));
  const std::uint64_t calls = heap_calls();
  for (const TokenId token : std::span(tokens_).subspan(80)) session.evaluate({&token, 1});
  EXPECT_EQ(heap_calls() - calls, 0u);
}

void expect_refused(const EngineOptions& options, ErrorCode code, const char* part) {
  try {
    Engine engine(options);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST_F(LatentFormats, OneFormatHoldsKeysAndValues) {
  EngineOptions two = options(KvFormat::kF16, 0);
  two.value_format = KvFormat::kF32;
  expect_refused(two, ErrorCode::kUsage, "latent attention");
}

TEST_F(LatentFormats, FormatsThatTreatKeysAndValuesDifferentlyAreRefused) {
  for (const kernels::KvFormatTraits& row : kernels::kKvFormats)
    if (!row.holds_latents())
      expect_refused(options(row.format, 0), ErrorCode::kUnsupported, "latent attention");
}

// In a file, too: what is kept of a position is its keys, in stored tiles and in the ring.
TEST_F(LatentFormats, ASessionGoesOnFromAFile) {
  const std::string file = directory_.file("latent.session");
  for (const KvFormat format : {KvFormat::kF16, KvFormat::kQ8_0, KvFormat::kQ4_1}) {
    const EngineOptions options = this->options(format, 20);
    for (const std::size_t length : {5u, 80u}) {
      SCOPED_TRACE(fmt::format("{} tokens in {}", length, kernels::traits(format).name));
      const auto next = std::span(tokens_).subspan(length, 10);
      std::vector<float> expected;
      {
        Engine engine(options);
        Session session(engine);
        const auto before = std::span(tokens_).first(length);
        Timeline timeline{.tokens = {before.begin(), before.end()}};
        const std::span<const float> logits = session.evaluate(timeline.tokens);
        timeline.logits.assign(logits.begin(), logits.end());
        save_session(file, engine, session, timeline);
        const std::span<const float> last = session.evaluate(next);
        expected.assign(last.begin(), last.end());
      }
      Engine engine(options);
      Session session(engine);
      load_session(file, engine, session);
      const std::span<const float> last = session.evaluate(next);
      EXPECT_EQ(std::vector<float>(last.begin(), last.end()), expected);
    }
  }
}

TEST_F(LatentFormats, BlocksOfChannelsMustBeWhole) {
  EngineOptions golden = options(KvFormat::kQ8_0, 0);
  golden.model_path = kGolden + ".gguf";
  expect_refused(golden, ErrorCode::kUnsupported, "48 channels");
}

}  // namespace
}  // namespace hearth::testing
