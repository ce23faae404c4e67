// hearth synth writes models that hearth inspect and hearth tokenize read.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/tools/support/run_command.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/synth_model.h"

namespace hearth::tools {
namespace {

using testing::CommandResult;
using testing::read_file;
using testing::run_hearth;
using testing::temporary_path;

// Writes a model and returns its path.
std::string synth(const std::string& name, std::vector<std::string> flags) {
  const std::string path = temporary_path(name);
  std::vector<std::string> arguments = {"synth", "-o", path, "--shape", "tiny"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const CommandResult result = run_hearth(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.output, "");
  return path;
}

TEST(Synth, InspectReportsTheShapeThatWasAskedFor) {
  const std::string path = synth(
      "shape.gguf", {"--layers", "3", "--experts", "8", "--top-k", "2", "--vocab-size", "300"});
  const CommandResult result = run_hearth({"inspect", "--json", "--tensors", path});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["architecture"], "qwen3moe");
  EXPECT_EQ(json["layers"], 3);
  EXPECT_EQ(json["moe_layers"], 3);
  EXPECT_EQ(json["experts_per_layer"], 8);
  EXPECT_EQ(json["experts_used"], 2);
  EXPECT_EQ(json["vocabulary"], 300);
  EXPECT_EQ(json["tensors"].size(), 3u + 3 * 12);
  // Keys and values of 2 heads of 64, 2 bytes each, in 3 layers.
  EXPECT_EQ(json["kv_bytes_per_token"], 2 * 2 * 64 * 2 * 3);
  // Gate and up of 256 × 256 in Q4_K (144 bytes for 256 values), down in Q4_K or Q6_K (210); of
  // three layers, an eighth is none, 7/8 begins at the third, and so does every third.
  const nlohmann::json sizes = {{{"bytes", 3 * 256 * 144}, {"layers", 2}},
                                {{"bytes", 256 * (144 + 144 + 210)}, {"layers", 1}}};
  EXPECT_EQ(json["expert_sizes"], sizes);
  EXPECT_EQ(json["expert_bytes"].get<std::uint64_t>(),
            8u * (2 * 3 * 256 * 144 + 256 * (144 + 144 + 210)));
  EXPECT_EQ(json["file_bytes"].get<std::uint64_t>(), std::filesystem::file_size(path));
}

// The sizes of heads and latents are the true ones, so that blocks of all formats hold them.
TEST(Synth, LatentAttentionInItsTrueSizes) {
  const std::string path = temporary_path("latent.gguf");
  const CommandResult made =
      run_hearth({"synth", "-o", path, "--shape", "glm-4.7-flash", "--layers", "2", "--experts",
                  "8", "--embedding", "256", "--expert-ff", "256", "--heads", "4", "--vocab-size",
                  "300", "--context", "512"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  // Of two layers, 512 + 64 channels of 2 bytes.
  const CommandResult summary = run_hearth({"inspect", "--json", path});
  ASSERT_EQ(summary.exit_code, 0) << summary.errors;
  EXPECT_EQ(nlohmann::json::parse(summary.output)["kv_bytes_per_token"], 2 * 576 * 2);
  for (const char* format : {"f16", "q8_0", "q4_0"}) {
    const CommandResult result = run_hearth({"run", "-m", path, "-p", "a", "-n", "4", "-c", "256",
                                             "--ignore-eos", "-ctk", format, "-ctv", format});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
  }
  const CommandResult two = run_hearth({"run", "-m", path, "-p", "a", "-ctk", "q8_0"});
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_NE(two.errors.find("latent attention"), std::string::npos) << two.errors;
  const CommandResult heads =
      run_hearth({"synth", "-o", path, "--shape", "glm-4.7-flash", "--kv-heads", "4"});
  EXPECT_EQ(heads.exit_code, 2);
  EXPECT_NE(heads.errors.find("--kv-heads has no effect"), std::string::npos) << heads.errors;
}

TEST(Synth, InspectForPeopleNamesTheSameThings) {
  const CommandResult result = run_hearth({"inspect", synth("people.gguf", {})});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  for (const char* part : {"qwen3moe", "16 x 4 layers, 4 per token", "Q4_K", "Q6_K", "512 tokens"})
    EXPECT_NE(result.output.find(part), std::string::npos) << part << "\n" << result.output;
}

TEST(Synth, TheSeedDecidesTheFileAndTheThreadsDoNot) {
  const std::string one = read_file(synth("one.gguf", {"--threads", "1"}));
  EXPECT_EQ(one, read_file(synth("four.gguf", {"--threads", "4"})));
  EXPECT_NE(one, read_file(synth("other.gguf", {"--seed", "1"})));
}

TEST(Synth, FormatsAreTheOnesNamed) {
  const std::string path =
      synth("formats.gguf", {"--mix", "q8_0", "--expert-format", "mxfp4", "--down-format", "Q5_K",
                             "--output-format", "f16"});
  const io::GgufFile file = open_model_file(path);
  const auto format = [&](std::string_view name) { return format_name(file.find(name)->type_id); };
  EXPECT_EQ(format("blk.0.attn_q.weight"), "Q8_0");
  EXPECT_EQ(format("blk.0.attn_v.weight"), "Q8_0");
  EXPECT_EQ(format("blk.3.ffn_up_exps.weight"), "MXFP4");
  EXPECT_EQ(format("blk.0.ffn_down_exps.weight"), "Q5_K");
  EXPECT_EQ(format("output.weight"), "F16");
  EXPECT_EQ(format("blk.0.ffn_gate_inp.weight"), "F32");
}

TEST(Synth, TheMixHasMoreBitsInHalfOfTheLayers) {
  SynthShape shape = synth_shape("qwen3-30b-a3b");
  shape.set_layers(16);
  std::string more;
  for (const SynthTensor& tensor : synth_model(shape, synth_mix("q4_k_m")).tensors)
    if (tensor.name.ends_with("ffn_down_exps.weight"))
      more += tensor.format == kernels::WeightFormat::kQ6_K ? '6' : '4';
  EXPECT_EQ(more, "6644644644644666");
}

TEST(Synth, TheVocabularyCanBeThatOfAnotherFile) {
  const std::string source = synth("vocabulary.gguf", {"--vocab-size", "1000"});
  const std::string copy = synth("copy.gguf", {"--vocab", source, "--layers", "1"});
  const io::GgufFile file = open_model_file(copy);
  EXPECT_EQ(summarize(file).vocabulary, 1000u);
  EXPECT_EQ(file.find("output.weight")->shape[1], 1000u);
}

TEST(Synth, ShapesThatCannotBeAreUsageErrors) {
  const std::string path = temporary_path("never.gguf");
  for (const std::vector<std::string>& flags :
       std::vector<std::vector<std::string>>{{"--top-k", "17"},
                                             {"--heads", "3"},
                                             {"--head-dim", "40"},
                                             {"--layers", "0"},
                                             {"--expert-ff", "100"},
                                             {"--mix", "q9_k"},
                                             {"--router-skew", "-1"},
                                             {"--threads", "0"},
                                             {"--vocab-size", "258"},
                                             {"--vocab", "x", "--vocab-size", "300"}}) {
    std::vector<std::string> arguments = {"synth", "-o", path, "--shape", "tiny"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const CommandResult result = run_hearth(arguments);
    EXPECT_EQ(result.exit_code, 2) << flags[0] << ": " << result.errors;
    EXPECT_FALSE(std::filesystem::exists(path));
  }
}

TEST(Tokenize, PrintsIdsAndPieces) {
  const std::string path = synth("tokens.gguf", {"--vocab-size", "1200"});
  // 702 words of two letters follow the 256 bytes, from "Ġa" on; "ab" merges, the "!" stays.
  const CommandResult pieces = run_hearth({"tokenize", "-m", path, "-p", "ab!", "--show-count"});
  ASSERT_EQ(pieces.exit_code, 0) << pieces.errors;
  EXPECT_EQ(pieces.output, "   283 -> 'ab'\n    33 -> '!'\nTotal number of tokens: 2\n");
  EXPECT_EQ(run_hearth({"tokenize", "-m", path, "-p", "ab!", "--ids"}).output, "[283, 33]\n");
}

TEST(Tokenize, ControlTokensAreParsedUnlessToldOtherwise) {
  const std::string path = synth("control.gguf", {});
  EXPECT_EQ(run_hearth({"tokenize", "-m", path, "-p", "<|im_end|>", "--ids"}).output, "[511]\n");
  const CommandResult text =
      run_hearth({"tokenize", "-m", path, "-p", "<|im_end|>", "--ids", "--no-parse-special"});
  EXPECT_EQ(text.output.find("511"), std::string::npos) << text.output;
}

TEST(Tokenize, ReadsStandardInputAndEscapes) {
  const std::string path = synth("input.gguf", {});
  const CommandResult piped = run_hearth({{"tokenize", "-m", path, "--ids"}, "a\nb", {}});
  EXPECT_EQ(piped.output, "[97, 10, 98]\n") << piped.errors;
  EXPECT_EQ(run_hearth({"tokenize", "-m", path, "--ids", "-p", "a\\nb"}).output, "[97, 10, 98]\n");
}

}  // namespace
}  // namespace hearth::tools
