// The shapes of configs/shapes: what was published of the models, and that each is computed.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "runtime/model.h"
#include "runtime/models/architecture.h"
#include "tests/tools/support/run_command.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/synth_model.h"

namespace hearth::tools::testing {
namespace {

TEST(SynthShapes, HaveTheParametersAndSizesThatWerePublished) {
  for (const std::string& name : synth_shape_names()) {
    SCOPED_TRACE(name);
    const SynthShape shape = synth_shape(name);
    const SynthModel model = synth_model(shape, synth_mix(shape.mix));
    // Published counts are rounded, to two digits at worst, or leave something out (the vision of
    // 1 %, multi-token prediction).
    if (shape.published_parameters) {
      EXPECT_NEAR(static_cast<double>(model.parameters()) / *shape.published_parameters, 1, 0.02);
    }
    // Of files also the tokenizer counts, and the version of the program that quantized them.
    if (shape.published_file) {
      EXPECT_NEAR(static_cast<double>(model.bytes().count) /
                      static_cast<double>(shape.published_file->count),
                  1, 0.02);
    }
    EXPECT_TRUE(shape.published_parameters || name.starts_with("tiny"));
  }
}

TEST(SynthShapes, CoverEveryArchitecture) {
  std::set<std::string, std::less<>> covered;
  for (const std::string& name : synth_shape_names())
    covered.insert(synth_shape(name).architecture);
  for (const runtime::Architecture& architecture : runtime::architectures())
    EXPECT_TRUE(covered.contains(architecture.name)) << architecture.name;
}

// A tensor or key that nobody asks for would be a slip in a shape.
TEST(SynthShapes, HaveNoTensorThatTheirArchitectureDoesNotUse) {
  for (const std::string& name : synth_shape_names()) {
    const SynthShape shape = synth_shape(name);
    std::set<std::string, std::less<>> made;
    for (const SynthTensor& tensor : synth_model(shape, synth_mix(shape.mix)).tensors) {
      const bool of_layer = tensor.name.starts_with("blk.");
      made.insert(of_layer ? tensor.name.substr(tensor.name.find('.', 4) + 1) : tensor.name);
    }
    for (const auto& [tensor, layers] : shape.tensors)
      EXPECT_TRUE(made.contains(tensor)) << name << ": " << tensor;
  }
}

SynthModel cut(const std::string& name, std::uint32_t layers) {
  SynthShape shape = synth_shape(name);
  shape.set_layers(layers);
  return synth_model(shape, synth_mix(shape.mix));
}

const SynthTensor* find(const SynthModel& model, std::string_view name) {
  for (const SynthTensor& tensor : model.tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

TEST(SynthShapes, KeepTheirPatternWhenTheyAreCut) {
  const SynthModel v3 = cut("deepseek-v3", 2);
  EXPECT_NE(find(v3, "blk.0.ffn_gate.weight"), nullptr);
  EXPECT_NE(find(v3, "blk.1.ffn_gate_exps.weight"), nullptr);
  const SynthModel longer = cut("deepseek-v3", 5);
  EXPECT_NE(find(longer, "blk.2.ffn_gate.weight"), nullptr);
  EXPECT_NE(find(longer, "blk.3.ffn_gate_exps.weight"), nullptr);
  const SynthModel gemma = cut("gemma4-26b-a4b", 12);  // every sixth layer is another one
  for (std::uint32_t layer = 0; layer < 12; ++layer) {
    const bool global = layer % 6 == 5;
    const std::string prefix = fmt::format("blk.{}.", layer);
    EXPECT_EQ(find(gemma, prefix + "attn_v.weight") == nullptr, global) << layer;
    EXPECT_EQ(find(gemma, prefix + "attn_k.weight")->shape[1], global ? 2 * 512 : 8 * 256) << layer;
  }
  const SynthModel next = cut("qwen3-next-80b-a3b", 4);
  EXPECT_NE(find(next, "blk.2.ssm_ba.weight"), nullptr);
  EXPECT_NE(find(next, "blk.3.attn_q.weight"), nullptr);
}

TEST(SynthShapes, RowsThatAreNoBlocksOf256HaveTheirSubstitutes) {
  const auto format = [](const SynthModel& model, std::string_view name) {
    return kernels::traits(find(model, name)->format).name;
  };
  const SynthModel air = cut("glm-4.5-air", 16);  // of 1408 = 5.5 × 256; layer 15 has more bits
  EXPECT_EQ(format(air, "blk.3.ffn_gate_exps.weight"), "Q4_K");
  EXPECT_EQ(format(air, "blk.3.ffn_down_exps.weight"), "Q5_0");
  EXPECT_EQ(format(air, "blk.15.ffn_down_exps.weight"), "Q8_0");
  const SynthModel oss = cut("gpt-oss-20b", 2);
  EXPECT_EQ(format(oss, "blk.0.ffn_down_exps.weight"), "MXFP4");
  EXPECT_EQ(format(oss, "blk.0.ffn_down_exps.bias"), "F32");
  EXPECT_EQ(format(oss, "blk.0.attn_q.weight"), "Q8_0");
  const SynthModel mixtral = cut("mixtral-8x7b", 4);
  EXPECT_EQ(format(mixtral, "blk.1.attn_k.weight"), "Q8_0");
  EXPECT_EQ(format(mixtral, "blk.1.attn_output.weight"), "Q5_K");
}

TEST(SynthShapes, AsManyLayersAsFit) {
  const SynthShape shape = synth_shape("gpt-oss-20b");
  const Bytes size(3'000'000'000);
  const SynthModel fits = fit_layers(shape, synth_mix(shape.mix), size);
  const auto layers =
      static_cast<std::uint32_t>(*fits.metadata.unsigned_integer("gpt-oss.block_count"));
  EXPECT_LE(fits.bytes(), size);
  EXPECT_GT(cut("gpt-oss-20b", layers + 1).bytes(), size);
  const SynthModel fewest = fit_layers(shape, synth_mix(shape.mix), Bytes(1));
  EXPECT_EQ(fewest.metadata.unsigned_integer("gpt-oss.block_count"), 2);
}

// Two ways to count, from tensors' rows and from blocks.
TEST(SynthShapes, InspectAndPlanAgreeOnHeaders) {
  for (const char* name : {"gemma4-26b-a4b", "deepseek-v3", "qwen3.5-122b-a10b", "gpt-oss-120b"}) {
    SCOPED_TRACE(name);
    const std::string path = temporary_path("header.gguf");
    ASSERT_EQ(run_hearth({"synth", "-o", path, "--shape", name, "--header-only"}).exit_code, 0);
    const auto json = [&](const CommandResult& result) {
      EXPECT_EQ(result.exit_code, 0) << result.errors;
      return nlohmann::json::parse(result.output);
    };
    const auto inspected = json(run_hearth({"inspect", "--json", path}));
    const auto planned = json(
        run_hearth({"plan", "-m", path, "--json", "--ram", "25GB", "--machine", "ddr5-5600-dual"}));
    EXPECT_EQ(inspected["has_weights"], false);
    EXPECT_EQ(inspected["kv_bytes_per_token"], planned["kv_bytes_per_token"]);
    EXPECT_EQ(inspected["file_bytes"], planned["file_bytes"]);
    EXPECT_EQ(inspected["moe_layers"].get<int>() * inspected["experts_per_layer"].get<int>(),
              planned["experts_total"].get<int>());
  }
}

TEST(SynthShapes, AreListed) {
  const CommandResult list = run_hearth({"synth", "--list"});
  ASSERT_EQ(list.exit_code, 0) << list.errors;
  for (const std::string& name : synth_shape_names())
    EXPECT_NE(list.output.find("\n" + name + " "), std::string::npos) << name;
  EXPECT_EQ(run_hearth({"synth", "--list", "-o", "x"}).exit_code, 2);
}

TEST(SynthShapes, ABadFileIsNamedWithItsLine) {
  const std::string head = "architecture = \"olmoe\"\nmix = \"q8_0\"\nvocabulary = 300\n";
  EXPECT_EQ(parse_synth_shape(head, "x").architecture, "olmoe");
  for (const char* bad : {"perod = 2", "[metadata]\na = -1", "[metadata]\na = [1, true]",
                          "[metadata]\na = []", "[layers]\na = 1", "[tensors]\na = 1",
                          "[tensors]\na = [1]", "period = 0", "published = { size = 1 }"})
    try {
      parse_synth_shape(head + bad, "x");
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile) << bad;
      EXPECT_NE(std::string(error.what()).find("x: line "), std::string::npos) << error.what();
    }
}

// What is peculiar in a shape stays (widths of heads and experts, top-k of few, biases, sinks,
// patterns, dense layers); what is only large goes.
struct Small {
  std::string shape;
  std::vector<std::string> flags;
};

void PrintTo(const Small& small, std::ostream* out) { *out << small.shape; }

class SynthShapesRun : public ::testing::TestWithParam<Small> {};

TEST_P(SynthShapesRun, GiveTheSameLogitsWithEveryBudget) {
  const std::string path = temporary_path(GetParam().shape + ".gguf");
  std::vector<std::string> arguments = {
      "synth", "-o", path, "--shape", GetParam().shape, "--vocab-size", "300", "--context", "512"};
  arguments.insert(arguments.end(), GetParam().flags.begin(), GetParam().flags.end());
  const CommandResult made = run_hearth(arguments);
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  const auto hash = [&](const char* share) {
    const CommandResult result =
        run_hearth({"bench", "-m", path, "-p", "0", "-n", "3", "-r", "1", "-t", "2", "-c", "64",
                    "--expert-ram", share, "-o", "json"});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output)[0]["logits_hash"].get<std::string>();
  };
  EXPECT_EQ(hash("100%"), hash("60%"));
}

INSTANTIATE_TEST_SUITE_P(
    All, SynthShapesRun,
    ::testing::Values(
        Small{"gpt-oss-20b",
              {"--layers", "2", "--experts", "8", "--heads", "16", "--embedding", "288"}},
        Small{"qwen1.5-moe-a2.7b",
              {"--layers", "1", "--experts", "8", "--embedding", "256", "--heads", "4",
               "--kv-heads", "4"}},
        Small{"llama-4-scout",
              {"--layers", "4", "--experts", "4", "--embedding", "256", "--expert-ff", "256"}},
        Small{"gemma4-26b-a4b", {"--layers", "6", "--experts", "16", "--embedding", "256"}},
        Small{"deepseek-v3",
              {"--layers", "2", "--experts", "32", "--embedding", "256", "--expert-ff", "256",
               "--heads", "4"}},
        Small{"glm-4.5-air",
              {"--layers", "2", "--experts", "16", "--embedding", "256", "--heads", "24",
               "--kv-heads", "2"}},
        Small{"minimax-m2",
              {"--layers", "1", "--experts", "256", "--embedding", "256", "--expert-ff", "32",
               "--heads", "6", "--kv-heads", "1"}},
        Small{"qwen3-next-80b-a3b",
              {"--layers", "4", "--experts", "32", "--embedding", "256", "--expert-ff", "256"}},
        Small{"mixtral-8x7b",
              {"--layers", "2", "--embedding", "256", "--expert-ff", "256", "--heads", "4",
               "--kv-heads", "1"}},
        Small{"ernie-4.5-21b-a3b",
              {"--layers", "2", "--experts", "16", "--embedding", "256", "--expert-ff", "256"}}),
    [](const auto& small) {
      std::string name = small.param.shape;
      for (char& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      return name;
    });

}  // namespace
}  // namespace hearth::tools::testing
