// The demo model against llama.cpp (models/reference.json): the same weights, but another rounding
// of activations: llama.cpp rounds 256 of them with one scale where the weights are K-quants, and
// 32 in Q8_0; Hearth always 32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/perplexity.h"
#include "runtime/sampler/sampler.h"
#include "runtime/session.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using Json = nlohmann::json;
using runtime::Engine;
using runtime::Session;

const std::string kModels = HEARTH_SOURCE_DIR "/models/";

const Json& reference() {
  static const Json json = Json::parse(read_text(kModels + "reference.json"));
  return json;
}

// Where the model in this weight format lies, if it is at hand.
std::optional<std::string> model_path(const std::string& format) {
  const std::string name = "tiny-moe-" + format + ".gguf";
  if (std::filesystem::exists(kModels + name)) return kModels + name;
  const char* const folder = std::getenv("HEARTH_MODEL_DIR");
  if (folder == nullptr) return std::nullopt;
  const std::string path = std::string(folder) + "/" + name;
  return std::filesystem::exists(path) ? std::optional(path) : std::nullopt;
}

Engine open(const std::string& path) {
  return Engine({.model_path = path, .budget = {.expert_share = 1.0}, .threads = 2});
}

class Reference : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto path = model_path(GetParam());
    if (!path)
      GTEST_SKIP() << "HEARTH_MODEL_DIR names no folder with tiny-moe-" << GetParam() << ".gguf";
    path_ = *path;
    expected_ = reference()["quants"][GetParam()];
  }

  std::string path_;
  Json expected_;
};

// A greedy text follows the reference until the first near-tie, where rounding may decide.
TEST_P(Reference, GreedyTextsAgreeUpToTheFirstNearTie) {
  constexpr double kNearTie = 0.1;
  Engine engine = open(path_);
  Session session(engine);
  for (const Json& text : expected_["greedy"]) {
    SCOPED_TRACE(text["prompt"].get<std::string>());
    const std::vector<TokenId> prompt = text["prompt_ids"], ids = text["ids"];
    const std::vector<double> margins = text["margins"];
    EXPECT_EQ(engine.tokenizer().encode(text["prompt"].get<std::string>(), {}), prompt);
    session.reset();
    TokenId token = runtime::argmax(session.evaluate(prompt));
    for (std::size_t i = 0; i < ids.size() && margins[i] >= kNearTie; ++i) {
      ASSERT_EQ(token, ids[i]) << "at step " << i;
      token = runtime::argmax(session.evaluate({&token, 1}));
    }
  }
}

// The same texts with the reference's tokens fed: then every step counts, also after a near-tie.
TEST_P(Reference, TheLikeliestTokenAgreesWhereItIsClear) {
  Engine engine = open(path_);
  Session session(engine);
  double widest_miss = 0;
  int steps = 0, misses = 0;
  for (const Json& text : expected_["greedy"]) {
    const std::vector<TokenId> ids = text["ids"];
    const std::vector<double> margins = text["margins"];
    session.reset();
    std::span<const float> logits =
        session.evaluate(text["prompt_ids"].get<std::vector<TokenId>>());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ++steps;
      if (runtime::argmax(logits) != ids[i])
        ++misses, widest_miss = std::max(widest_miss, margins[i]);
      logits = session.evaluate({&ids[i], 1});
    }
  }
  std::printf("%d of %d steps differ, the widest margin %.4f\n", misses, steps, widest_miss);
}

double log_sum_exp(std::span<const float> logits) {
  return runtime::negative_log_likelihood(logits, 0) + logits[0];
}

// Kullback-Leibler divergence of softmax(logits) from softmax(reference), in nats.
double divergence(std::span<const float> reference, std::span<const float> logits) {
  const double reference_sum = log_sum_exp(reference), sum = log_sum_exp(logits);
  double total = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - reference_sum, log_q = logits[i] - sum;
    total += std::exp(log_p) * (log_p - log_q);
  }
  return total;
}

TEST_P(Reference, LogitsAgree) {
  Engine engine = open(path_);
  const std::vector<TokenId> prompt = reference()["prompt_ids_64"];
  const std::size_t pieces[] = {prompt.size()};
  const RecordedRun run = record_run(engine, prompt, pieces);
  const std::size_t vocabulary = engine.config().vocabulary;
  double sum_off = 0, mean_off = 0, top_off = 0;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const auto row = std::span(run.logits).subspan(i * vocabulary, vocabulary);
    const Json& expected = expected_["logits"][i];
    double mean = 0;
    for (const float logit : row) mean += logit / static_cast<double>(vocabulary);
    sum_off += std::abs(log_sum_exp(row) - expected["lse"].get<double>());
    mean_off += std::abs(mean - expected["mean"].get<double>());
    for (std::size_t k = 0; k < 8; ++k)
      top_off += std::abs(row[expected["top_ids"][k].get<std::size_t>()] -
                          expected["top_logits"][k].get<double>()) /
                 8;
  }
  const double n = static_cast<double>(prompt.size());
  std::printf("lse %.4f mean %.4f top %.4f\n", sum_off / n, mean_off / n, top_off / n);
}

TEST(ReferenceLogits, DistributionsAgree) {
  Engine engine = open(kModels + "tiny-moe-Q4_K_M.gguf");
  const std::vector<TokenId> prompt = reference()["prompt_ids_64"];
  const std::size_t pieces[] = {prompt.size()};
  const RecordedRun run = record_run(engine, prompt, pieces);
  const std::vector<float> expected = read_array(kModels + "logits_Q4_K_M.npy");
  ASSERT_EQ(run.logits.size(), expected.size());
  const std::size_t vocabulary = engine.config().vocabulary;
  double total = 0, worst = 0;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const double kl = divergence(std::span(expected).subspan(i * vocabulary, vocabulary),
                                 std::span(run.logits).subspan(i * vocabulary, vocabulary));
    total += kl;
    worst = std::max(worst, kl);
  }
  const Difference off = difference(run.logits, expected);
  std::printf("KL mean %.6f worst %.6f rms %.4f max %.4f\n", total / 64, worst, off.rms, off.max);
}

INSTANTIATE_TEST_SUITE_P(Formats, Reference, ::testing::Values("Q4_K_M", "Q8_0"),
                         [](const auto& parameter) { return std::string(parameter.param); });

}  // namespace
}  // namespace hearth::testing
