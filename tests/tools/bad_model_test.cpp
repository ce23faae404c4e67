// Model files that are missing, damaged or of another kind: `hearth run` ends with one line that
// names the file and what is wrong with it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "tests/runtime/support/model_copy.h"
#include "tests/tools/support/expect_error.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools::testing {
namespace {

using hearth::testing::ModelCopy;
using hearth::testing::TensorCopy;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";

CommandResult run_model(const std::string& path) {
  return run_hearth({"run", "-m", path, "-p", "a", "-n", "1", "--temp", "0", "--no-report"});
}

// ---- Files that are no models

std::string patched(std::size_t at, std::string_view bytes) {
  std::string content = read_file(kModel);
  content.replace(at, bytes.size(), bytes);
  const std::string path = temporary_path("patched.gguf");
  write_file(path, content);
  return path;
}

TEST(BadModel, TheModelThatTheseTestsChangeWorks) {
  EXPECT_EQ(run_model(kModel).exit_code, 0);
  const std::string path = temporary_path("copy.gguf");
  ModelCopy(kModel).write(path);
  EXPECT_EQ(run_model(path).exit_code, 0);
}

TEST(BadModel, MissingFile) {
  const std::string path = temporary_path("missing.gguf");
  expect_error(run_model(path), kFailed, {path, "no such file", "check the path"});
}

TEST(BadModel, PathsThatAreNoFiles) {
  expect_error(run_model("/tmp"), kFailed, {"/tmp", "is a directory"});
  expect_error(run_model("/dev/null"), kFailed, {"/dev/null", "not a regular file"});
  expect_error(run_model(kModel + "/x"), kFailed, {"no such file"});
  const std::string pipe = temporary_path("pipe.gguf");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_error(run_model(pipe), kFailed, {pipe, "not a regular file"});
}

TEST(BadModel, PathThatCannotBeOpened) {
  // A link to itself is refused to everybody, root included.
  const std::string loop = temporary_path("loop.gguf");
  ASSERT_EQ(symlink(loop.c_str(), loop.c_str()), 0);
  expect_error(run_model(loop), kFailed, {loop, "cannot open", "symbolic links"});
}

TEST(BadModel, PathWithALineBreakStaysOneLine) {
  expect_error(run_model("/nowhere/a\nb\x1b[31m\xff.gguf"), kFailed,
               {"/nowhere/a\\x0ab\\x1b[31m\\xff.gguf", "no such file"});
}

TEST(BadModel, FileThatCannotBeRead) {
  if (geteuid() == 0) GTEST_SKIP() << "permissions do not bind root";
  const std::string path = temporary_path("unreadable.gguf");
  write_file(path, read_file(kModel));
  chmod(path.c_str(), 0);
  expect_error(run_model(path), kFailed, {path, "permissions"});
}

TEST(BadModel, EmptyAndTruncatedFiles) {
  const std::string path = temporary_path("short.gguf");
  const std::string content = read_file(kModel);
  write_file(path, "");
  expect_error(run_model(path), kFailed, {path, "is empty"});
  for (const std::size_t length : {std::size_t{3}, std::size_t{100}, std::size_t{6000},
                                   content.size() / 2, content.size() - 1}) {
    write_file(path, content.substr(0, length));
    expect_error(run_model(path), kFailed, {path, "truncated", "download it again"});
  }
}

TEST(BadModel, OtherFormatsAndVersions) {
  expect_error(run_model(patched(0, "PK\x03\x04")), kFailed, {"not a GGUF file"});
  expect_error(run_model(patched(4, std::string_view("\x01\0\0\0", 4))), kFailed,
               {"version 1", "convert"});
  expect_error(run_model(patched(4, std::string_view("\0\0\0\x03", 4))), kFailed,
               {"big-endian", "convert"});
  expect_error(run_model(patched(4, std::string_view("\x09\0\0\0", 4))), kFailed,
               {"version 9", "newer"});
}

// ---- Well-formed files that do not describe a model this program can run

struct Change {
  const char* name;
  void (*make)(ModelCopy& model);
  std::vector<std::string_view> parts;  // of the error
};
void PrintTo(const Change& change, std::ostream* out) { *out << change.name; }

void set(ModelCopy& model, const char* key, std::uint64_t value) {
  model.set(std::string("qwen3moe.") + key, value);
}

void swap_shape(ModelCopy& model, const char* name) {
  TensorCopy& tensor = model.tensor(name);
  std::swap(tensor.shape[0], tensor.shape[1]);
}

// Leaves out the last slice, row or value.
void shorten(ModelCopy& model, const char* name) {
  TensorCopy& tensor = model.tensor(name);
  tensor.data.resize(tensor.data.size() / tensor.shape.back() * (tensor.shape.back() - 1));
  tensor.shape.back() -= 1;
}

void fill_with_nan(ModelCopy& model, const char* name) {
  std::memset(model.tensor(name).data.data(), 0xff, model.tensor(name).data.size());
}

const Change kChanges[] = {
    {"UnknownArchitecture",
     [](ModelCopy& m) { m.set("general.architecture", std::string("mam\nba9")); },
     {"mam\\x0aba9 is not supported", "qwen3moe"}},
    {"NoArchitecture",
     [](ModelCopy& m) { m.remove_key("general.architecture"); },
     {"general.architecture is missing"}},
    {"ArchitectureOfAnotherType",
     [](ModelCopy& m) { m.set("general.architecture", std::uint64_t{7}); },
     {"general.architecture", "the number 7"}},
    {"UnknownFormatOfADenseTensor",
     [](ModelCopy& m) { m.tensor("blk.1.attn_q.weight").type_id = 200; },
     {"blk.1.attn_q.weight", "format 200", "not supported"}},
    {"UnknownFormatOfExperts",
     [](ModelCopy& m) { m.tensor("blk.1.ffn_up_exps.weight").type_id = 200; },
     {"blk.1.ffn_up_exps.weight", "format 200", "not supported"}},
    {"NormInAnotherFormat",
     [](ModelCopy& m) { m.tensor("output_norm.weight").type_id = 8; },
     {"output_norm.weight", "F32"}},
    {"NoAttentionTensor",
     [](ModelCopy& m) { m.remove_tensor("blk.1.attn_k.weight"); },
     {"blk.1.attn_k.weight is missing"}},
    {"NoNorm",
     [](ModelCopy& m) { m.remove_tensor("output_norm.weight"); },
     {"output_norm.weight is missing"}},
    {"NoEmbedding",
     [](ModelCopy& m) { m.remove_tensor("token_embd.weight"); },
     {"token_embd.weight is missing"}},
    {"NoExperts",
     [](ModelCopy& m) { m.remove_tensor("blk.2.ffn_down_exps.weight"); },
     {"blk.2.ffn_down_exps.weight is missing"}},
    {"TransposedMatrix",
     [](ModelCopy& m) { swap_shape(m, "blk.0.attn_q.weight"); },
     {"blk.0.attn_q.weight", "128 × 64", "64 × 128 is expected"}},
    {"ShortNorm",
     [](ModelCopy& m) { shorten(m, "blk.0.attn_norm.weight"); },
     {"blk.0.attn_norm.weight", "shape 63", "64 is expected"}},
    {"TransposedExperts",
     [](ModelCopy& m) { swap_shape(m, "blk.0.ffn_up_exps.weight"); },
     {"blk.0.ffn_up_exps.weight", "32 × 64 × 16"}},
    {"FewerExpertsThanTheMetadataSays",
     [](ModelCopy& m) { shorten(m, "blk.1.ffn_up_exps.weight"); },
     {"blk.1.ffn_up_exps.weight", "15 experts", "16"}},
    {"MoreExpertsThanTheMetadataSays",
     [](ModelCopy& m) { set(m, "expert_count", 8); },
     {"blk.0.ffn_gate_inp.weight", "64 × 16", "64 × 8"}},
    {"NoLayers", [](ModelCopy& m) { set(m, "block_count", 0); }, {"block_count is 0"}},
    {"TooManyLayers",
     [](ModelCopy& m) { set(m, "block_count", 1ull << 40); },
     {"block_count is 1099511627776"}},
    {"OneLayerTooMany", [](ModelCopy& m) { set(m, "block_count", 4); }, {"blk.3.", "missing"}},
    {"LayersAsText",
     [](ModelCopy& m) { m.set("qwen3moe.block_count", std::string("3")); },
     {"qwen3moe.block_count", "text"}},
    {"NegativeLayers",
     [](ModelCopy& m) { m.set("qwen3moe.block_count", std::int64_t{-3}); },
     {"qwen3moe.block_count", "-3"}},
    {"NoContextLength",
     [](ModelCopy& m) { m.remove_key("qwen3moe.context_length"); },
     {"context_length is missing"}},
    {"TooManyHeads",
     [](ModelCopy& m) { set(m, "attention.head_count", 1u << 31); },
     {"attention.head_count is 2147483648"}},
    {"HeadsThatDoNotDivide",
     [](ModelCopy& m) { set(m, "attention.head_count_kv", 3); },
     {"heads", "not a multiple"}},
    {"OddHeadSize", [](ModelCopy& m) { set(m, "attention.key_length", 17); }, {"multiple of 16"}},
    {"NoHeadSize", [](ModelCopy& m) { set(m, "attention.key_length", 0); }, {"key_length is 0"}},
    {"HeadsWithoutRoom",
     [](ModelCopy& m) {
       m.remove_key("qwen3moe.attention.key_length");
       m.remove_key("qwen3moe.attention.value_length");
       set(m, "attention.head_count", 1024);
     },
     {"head"}},
    {"RotaryBeyondTheHead",
     [](ModelCopy& m) { set(m, "rope.dimension_count", 64); },
     {"rotary size"}},
    {"OddRotary", [](ModelCopy& m) { set(m, "rope.dimension_count", 5); }, {"rotary size"}},
    {"NanEpsilon",
     [](ModelCopy& m) {
       m.set("qwen3moe.attention.layer_norm_rms_epsilon", std::numeric_limits<double>::quiet_NaN());
     },
     {"layer_norm_rms_epsilon is nan"}},
    {"NegativeRopeBase",
     [](ModelCopy& m) { m.set("qwen3moe.rope.freq_base", -1.0); },
     {"rope.freq_base is -1"}},
    {"NoExpertUsed",
     [](ModelCopy& m) { set(m, "expert_used_count", 0); },
     {"expert_used_count is 0"}},
    {"MoreExpertsUsedThanThere",
     [](ModelCopy& m) { set(m, "expert_used_count", 17); },
     {"more experts are used than there are"}},
    {"NoExpertWidth",
     [](ModelCopy& m) { set(m, "expert_feed_forward_length", 0); },
     {"expert_feed_forward_length is 0"}},
    {"VocabularyOfAnotherModel",
     [](ModelCopy& m) {
       shorten(m, "token_embd.weight");
       shorten(m, "output.weight");
     },
     {"160 tokens", "159 rows"}},
    {"OutputOfAnotherVocabulary",
     [](ModelCopy& m) { shorten(m, "output.weight"); },
     {"output.weight", "64 × 159"}},
    {"NoTokenizer",
     [](ModelCopy& m) { m.remove_key("tokenizer.ggml.model"); },
     {"tokenizer.ggml.model is missing"}},
    {"UnknownTokenizer",
     [](ModelCopy& m) { m.set("tokenizer.ggml.model", std::string("morse")); },
     {"morse", "supported are"}},
    {"NoTokens",
     [](ModelCopy& m) { m.set("tokenizer.ggml.tokens", std::vector<std::string>()); },
     {"tokenizer.ggml.tokens is missing or empty"}},
    {"TokensWithoutTypes",
     [](ModelCopy& m) { m.set("tokenizer.ggml.tokens", std::vector<std::string>(159, "a")); },
     {"token_type has 160 entries for 159 tokens"}},
    {"MergeThatJoinsNothing",
     [](ModelCopy& m) { m.set("tokenizer.ggml.merges", std::vector<std::string>{"zz\n qq"}); },
     {"tokenizer.ggml.merges[0]", "zz\\x0a qq"}},
    {"EndTokenOutsideTheVocabulary",
     [](ModelCopy& m) { m.set("tokenizer.ggml.eos_token_id", std::uint64_t{160}); },
     {"eos_token_id is 160", "160 tokens"}},
};

class BadModelFile : public ::testing::TestWithParam<Change> {};

TEST_P(BadModelFile, EndsInOneLine) {
  ModelCopy model(kModel);
  GetParam().make(model);
  const std::string path = temporary_path("changed.gguf");
  model.write(path);
  expect_error(run_model(path), kFailed, GetParam().parts);
  expect_error(run_model(path), kFailed, {path});
  // The other readers of a file may say more about it, but must end in order, too.
  for (const char* subcommand : {"inspect", "tokenize"}) {
    const CommandResult result = run_hearth({{subcommand, "-m", path}, "a", {}});
    EXPECT_TRUE(result.exit_code == 0 || result.exit_code == kFailed)
        << subcommand << ": " << result.exit_code << " " << result.errors;
  }
}

INSTANTIATE_TEST_SUITE_P(Changes, BadModelFile, ::testing::ValuesIn(kChanges),
                         [](const auto& parameter) { return parameter.param.name; });

// ---- What other architectures ask for

struct OtherChange {
  const char* name;
  const char* model;
  void (*make)(ModelCopy& model);
  std::vector<std::string_view> parts;  // of the error
};
void PrintTo(const OtherChange& change, std::ostream* out) { *out << change.name; }

const OtherChange kOtherChanges[] = {
    {"NoExpertsAtAll",
     "llama",
     [](ModelCopy& m) { m.remove_key("llama.expert_count"); },
     {"no experts", "llama.expert_count"}},
    {"ExpertsWithoutAWidth",
     "llama",
     [](ModelCopy& m) { m.remove_key("llama.feed_forward_length"); },
     {"llama.feed_forward_length is missing"}},
    {"NormOfHeadsForWholeProjections",
     "olmoe",
     [](ModelCopy& m) { shorten(m, "blk.0.attn_k_norm.weight"); },
     {"blk.0.attn_k_norm.weight", "shape 63", "64 is expected"}},
    {"NoBias",
     "qwen2moe",
     [](ModelCopy& m) { m.remove_tensor("blk.1.attn_v.bias"); },
     {"blk.1.attn_v.bias is missing"}},
    {"NoSharedExpert",
     "qwen2moe",
     [](ModelCopy& m) { m.remove_tensor("blk.1.ffn_up_shexp.weight"); },
     {"blk.1.ffn_up_shexp.weight is missing"}},
    {"NoSinks",
     "gpt-oss",
     [](ModelCopy& m) { m.remove_tensor("blk.3.attn_sinks.weight"); },
     {"blk.3.attn_sinks.weight is missing"}},
    {"BiasesOfFewerExperts",
     "gpt-oss",
     [](ModelCopy& m) { shorten(m, "blk.0.ffn_up_exps.bias"); },
     {"blk.0.ffn_up_exps.bias", "32 × 7", "32 × 8"}},
    {"UnknownRopeScaling",
     "gpt-oss",
     [](ModelCopy& m) { m.set("gpt-oss.rope.scaling.type", std::string("twisted")); },
     {"rope.scaling.type is twisted", "linear and yarn"}},
    {"NoWindow",
     "gpt-oss",
     [](ModelCopy& m) { m.remove_key("gpt-oss.attention.sliding_window"); },
     {"attention.sliding_window is missing"}},
    {"UnknownGating",
     "glm4moe",
     [](ModelCopy& m) { m.set("glm4moe.expert_gating_func", std::uint64_t{4}); },
     {"expert_gating_func is 4"}},
    {"GroupsThatDoNotFit",
     "glm4moe",
     [](ModelCopy& m) {
       m.set("glm4moe.expert_group_count", std::uint64_t{3});
       m.set("glm4moe.expert_group_used_count", std::uint64_t{1});
     },
     {"groups of experts"}},
    {"NothingButPrediction",
     "glm4moe",
     [](ModelCopy& m) { m.set("glm4moe.nextn_predict_layers", std::uint64_t{5}); },
     {"multi-token prediction"}},
    {"NoBiasOfTheChoice",
     "minimax-m2",
     [](ModelCopy& m) { m.remove_tensor("blk.2.exp_probs_b.bias"); },
     {"blk.2.exp_probs_b.bias is missing"}},
    {"NoStepOfLayers",
     "llama4",
     [](ModelCopy& m) { m.remove_key("llama4.interleave_moe_layer_step"); },
     {"interleave_moe_layer_step is missing"}},
    {"EmbeddingsOfLayers",
     "gemma4",
     [](ModelCopy& m) { m.set("gemma4.embedding_length_per_layer_input", std::uint64_t{64}); },
     {"not supported", "embedding_length_per_layer_input"}},
    {"OneSizeOfHeads",
     "gemma4",
     [](ModelCopy& m) { m.remove_key("gemma4.attention.key_length_swa"); },
     {"attention.key_length_swa is missing"}},
    {"AllCachesShared",
     "gemma4",
     [](ModelCopy& m) { m.set("gemma4.attention.shared_kv_layers", std::uint64_t{4}); },
     {"no layer has keys"}},
};

class OtherBadModel : public ::testing::TestWithParam<OtherChange> {};

TEST_P(OtherBadModel, EndsInOneLine) {
  ModelCopy model(fmt::format(HEARTH_SOURCE_DIR "/tests/golden/{}.gguf", GetParam().model));
  GetParam().make(model);
  const std::string path = temporary_path("changed.gguf");
  model.write(path);
  expect_error(run_model(path), kFailed, GetParam().parts);
}

INSTANTIATE_TEST_SUITE_P(Changes, OtherBadModel, ::testing::ValuesIn(kOtherChanges),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(OtherModel, BlocksThatAreNotUsedAreNoted) {
  const CommandResult result =
      run_hearth({"run", "-m", HEARTH_SOURCE_DIR "/tests/golden/glm4moe.gguf", "-p", "a", "-n", "1",
                  "--temp", "0"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.errors.find("1 of 5 blocks, for multi-token prediction, is not used"),
            std::string::npos)
      << result.errors;
}

TEST(BadModel, WeightsThatAreNotFinite) {
  for (const char* name : {"output_norm.weight", "blk.1.ffn_gate_inp.weight", "token_embd.weight",
                           "blk.0.ffn_up_exps.weight"}) {
    ModelCopy model(kModel);
    fill_with_nan(model, name);
    const std::string path = temporary_path("nan.gguf");
    model.write(path);
    expect_error(run_model(path), kFailed, {"logits at position 0 are not finite", "damaged"},
                 Before::kReport);
  }
}

// ---- Split files

class SplitModel : public ::testing::Test {
 protected:
  SplitModel() : model_(kModel) {}

  std::string part(int number) const {
    return temporary_path(fmt::format("part-{:05}-of-00002.gguf", number));
  }
  // Tensors up to the 20th in the first part; `count` and the part numbers as the files say it.
  void write_parts(std::uint64_t count = 2, std::uint64_t second = 1) {
    model_.set("split.count", count);
    model_.set("split.no", std::uint64_t{0});
    model_.set("split.tensors.count", std::uint64_t{model_.tensors().size()});
    model_.write(part(1), 0, 20);
    model_.set("split.no", second);
    model_.write(part(2), 20, model_.tensors().size());
  }
  ModelCopy model_;
};

TEST_F(SplitModel, GivesTheSameTextAsOneFile) {
  write_parts();
  const CommandResult split = run_model(part(1));
  EXPECT_EQ(split.exit_code, 0) << split.errors;
  EXPECT_EQ(split.output, run_model(kModel).output);
}

TEST_F(SplitModel, MissingPart) {
  write_parts();
  std::filesystem::remove(part(2));
  expect_error(run_model(part(1)), kFailed, {part(2), "missing", "part 2 of 2"});
}

TEST_F(SplitModel, TruncatedPart) {
  write_parts();
  std::filesystem::resize_file(part(2), std::filesystem::file_size(part(2)) - 1);
  expect_error(run_model(part(1)), kFailed, {part(2), "truncated"});
}

TEST_F(SplitModel, PartsThatDoNotFit) {
  write_parts(2, 0);
  expect_error(run_model(part(1)), kFailed, {part(2), "part 1 of 2"});
  write_parts(3, 1);
  expect_error(run_model(part(1)), kMisused, {part(1), "must end in"});
  write_parts();
  expect_error(run_model(part(2)), kMisused, {part(2), "open the first part", part(1)});
  model_.set("split.no", std::uint64_t{0});
  model_.write(part(1), 0, 21);  // with a tensor that the second part has, too
  expect_error(run_model(part(1)), kFailed, {"is there twice"});
  model_.write(part(1), 0, 19);
  expect_error(run_model(part(1)), kFailed, {"split.tensors.count"});
}

}  // namespace
}  // namespace hearth::tools::testing
