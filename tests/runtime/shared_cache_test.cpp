// Layers that read the keys and values of an earlier layer keep none of their own.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/model_copy.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using runtime::Engine;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/gemma4.gguf";
constexpr TokenId kTokens[] = {3,  16,  151, 112, 71, 94,  119, 39, 41, 8,
                               40, 121, 49,  110, 28, 107, 109, 9,  24, 60};

Engine open(const std::string& path) {
  return Engine({.model_path = path, .budget = {.expert_share = 1.0}, .context = 64, .threads = 2});
}

std::string without_keys_in_the_last_layers(const io::TemporaryDirectory& directory) {
  ModelCopy copy(kModel);
  copy.set("gemma4.attention.shared_kv_layers", std::uint64_t{2});
  for (const char* name : {"blk.2.attn_k.weight", "blk.2.attn_v.weight", "blk.2.attn_k_norm.weight",
                           "blk.3.attn_k.weight", "blk.3.attn_k_norm.weight"})
    copy.remove_tensor(name);
  const std::string path = directory.file("shared.gguf");
  copy.write(path);
  return path;
}

TEST(SharedCache, TakesHalfTheMemoryAndGivesTheSameBitsHoweverFed) {
  const io::TemporaryDirectory directory;
  Engine own = open(kModel), shared = open(without_keys_in_the_last_layers(directory));
  EXPECT_EQ(shared.needs().kv.keys.per_tile * 2, own.needs().kv.keys.per_tile);
  EXPECT_EQ(shared.needs().kv.values.per_tile * 2, own.needs().kv.values.per_tile);
  const std::size_t at_once[] = {std::size(kTokens)};
  const std::vector<std::size_t> singly(std::size(kTokens), 1);
  const RecordedRun expected = record_run(shared, kTokens, at_once);
  EXPECT_TRUE(record_run(shared, kTokens, singly).logits == expected.logits);
  EXPECT_TRUE(record_run(own, kTokens, at_once).logits != expected.logits);
}

}  // namespace
}  // namespace hearth::testing
