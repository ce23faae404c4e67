// Layers that go to the GPU whole.
#include "profiler/whole_layers.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

using testing::empty_test_profile;

// Block 0 uses one of 8 experts, block 2 all of 8, block 3 two of 6.
ExpertProfile uneven_profile() {
  ExpertProfile profile = empty_test_profile();
  profile.layers[0].experts[0].count = 80;
  for (ExpertHistory& expert : profile.layers[1].experts) expert.count = 10;
  profile.layers[2].experts[1].count = profile.layers[2].experts[5].count = 40;
  return profile;
}

const std::vector<Bytes> kBytes = {Bytes(800), Bytes(800), Bytes(600)};
using Layers = std::vector<LayerIndex>;

TEST(WholeLayers, TheMostSpreadLayersGoFirst) {
  const WholeLayers one = place_whole_layers(uneven_profile(), kBytes, Bytes(1000));
  EXPECT_EQ(one.on_gpu, Layers{2});
  EXPECT_EQ(one.on_cpu, (Layers{0, 3}));
  EXPECT_EQ(one.gpu, Bytes(800));
  EXPECT_EQ(one.cpu, Bytes(1400));
  EXPECT_EQ(one.n_cpu_moe, 3u);  // by position only the last layer fits

  const WholeLayers two = place_whole_layers(uneven_profile(), kBytes, Bytes(1400));
  EXPECT_EQ(two.on_gpu, (Layers{2, 3}));
  EXPECT_EQ(two.n_cpu_moe, 1u);
}

TEST(WholeLayers, ASmallerLayerTakesWhatIsLeft) {
  const WholeLayers placement = place_whole_layers(uneven_profile(), kBytes, Bytes(700));
  EXPECT_EQ(placement.on_gpu, Layers{3});
  EXPECT_EQ(placement.gpu, Bytes(600));
}

TEST(WholeLayers, AllOrNone) {
  const WholeLayers all = place_whole_layers(uneven_profile(), kBytes, Bytes(2200));
  EXPECT_EQ(all.on_gpu, (Layers{0, 2, 3}));
  EXPECT_EQ(all.n_cpu_moe, 0u);
  EXPECT_EQ(llama_arguments(all).find("-ot"), std::string::npos);
  const WholeLayers none = place_whole_layers(uneven_profile(), kBytes, Bytes(599));
  EXPECT_TRUE(none.on_gpu.empty());
  EXPECT_EQ(none.n_cpu_moe, 4u);
  EXPECT_NE(llama_arguments(none).find("--cpu-moe"), std::string::npos);
}

TEST(WholeLayers, WithoutCountsTheLastLayersGoAsByPosition) {
  const std::vector<Bytes> equal(3, Bytes(100));
  const WholeLayers placement = place_whole_layers(empty_test_profile(), equal, Bytes(200));
  EXPECT_EQ(placement.on_gpu, (Layers{2, 3}));
  EXPECT_EQ(placement.n_cpu_moe, 1u);
}

TEST(WholeLayers, TheExpressionMatchesTheExpertTensorsOfTheseLayers) {
  const std::string text =
      llama_arguments(place_whole_layers(uneven_profile(), kBytes, Bytes(1000)));
  const std::size_t begin = text.find("-ot \"") + 5;
  const std::string pattern = text.substr(begin, text.find("=CPU") - begin);
  const std::regex expression(pattern);
  const auto on_cpu = [&](const std::string& tensor) {
    return std::regex_search(tensor, expression);
  };
  for (const char* part : {"gate", "up", "down", "gate_up"}) {
    EXPECT_TRUE(on_cpu(std::string("blk.0.ffn_") + part + "_exps.weight"));
    EXPECT_TRUE(on_cpu(std::string("blk.3.ffn_") + part + "_exps.weight"));
    EXPECT_FALSE(on_cpu(std::string("blk.2.ffn_") + part + "_exps.weight"));
    EXPECT_FALSE(on_cpu(std::string("blk.30.ffn_") + part + "_exps.weight"));
  }
  EXPECT_FALSE(on_cpu("blk.0.ffn_gate_inp.weight"));
  EXPECT_FALSE(on_cpu("blk.0.ffn_gate_shexp.weight"));
  EXPECT_NE(text.find("--n-cpu-moe 3\n"), std::string::npos);
}

}  // namespace
}  // namespace hearth::profiler
