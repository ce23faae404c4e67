#include "profiler/model_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "base/error.h"
#include "profiler/model_identity_toml.h"
#include "profiler/table_toml.h"

namespace hearth::profiler {
namespace {

using ::testing::HasSubstr;

ModelIdentity example() {
  return {.architecture = "qwen3moe",
          .name = "Qwen3 30B A3B",
          .formats = "Q4_K 83 %, Q6_K 17 %",
          .layers = 48,
          .experts_per_layer = 128,
          .experts_used = 8,
          .metadata = 1,
          .tensors = 2,
          .types = 3,
          .samples = 4};
}

ModelIdentity parse(const std::string& text) {
  const toml::table root = parse_toml(text, "file");
  TableReader reader(root, "file");
  const ModelIdentity model = read_model_identity(reader.table("model"));
  reader.finish();
  return model;
}

void expect_refused(const std::string& text, const std::string& message) {
  try {
    parse(text);
    ADD_FAILURE() << "no error, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), HasSubstr(message));
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
  }
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

struct Change {
  const char* says;
  void (*apply)(ModelIdentity&);
};

TEST(ModelIdentity, TheCoarsestDifferenceIsNamed) {
  EXPECT_EQ(difference(example(), example()), std::nullopt);
  // From the finest to the coarsest, each on top of those before it.
  const Change changes[] = {
      {"other weights", [](auto& m) { m.samples = 40; }},
      {"other metadata", [](auto& m) { m.metadata = 10; }},
      {"the same shares (Q4_K 83 %, Q6_K 17 %) of other tensors", [](auto& m) { m.types = 30; }},
      {"another quantisation: Q8_0 100 %, but the model has Q4_K 83 %, Q6_K 17 %",
       [](auto& m) { m.formats = "Q8_0 100 %"; }},
      {"other tensors", [](auto& m) { m.tensors = 20; }},
      {"another shape: 94 layers, 128 experts of which 8 are used, but this one has 48 layers",
       [](auto& m) { m.layers = 94; }},
      {"another model: Mine, but this is Qwen3 30B A3B", [](auto& m) { m.name = "Mine"; }},
      {"another architecture: llama, but the model is qwen3moe",
       [](auto& m) { m.architecture = "llama"; }},
  };
  ModelIdentity found = example();
  for (const Change& change : changes) {
    change.apply(found);
    EXPECT_THAT(difference(found, example()).value_or("nothing"), HasSubstr(change.says));
  }
}

TEST(ModelIdentity, SamplesCountOnlyWhereBothHaveThem) {
  ModelIdentity header_only = example();
  header_only.samples = 0;
  EXPECT_EQ(difference(header_only, example()), std::nullopt);
  EXPECT_EQ(difference(example(), header_only), std::nullopt);
}

TEST(ModelIdentity, ATableComesBack) {
  const bool ok = rc::check("written equals read", [](const std::vector<std::uint32_t>& letters) {
    std::string name;
    for (const std::uint32_t letter : letters) name += static_cast<char>(letter % 128);
    ModelIdentity model = example();
    model.name = name + "\"\\ \t\x01\x7f 中";
    model.layers = *rc::gen::inRange(0u, 65536u);
    model.metadata = *rc::gen::arbitrary<std::uint64_t>();
    model.samples = ~std::uint64_t{0};
    RC_ASSERT(parse(to_toml(model)) == model);
  });
  EXPECT_TRUE(ok);
}

TEST(ModelIdentity, WhatIsNotUtf8IsReplaced) {
  ModelIdentity model = example();
  model.name = "a\xff\xc3z";
  EXPECT_EQ(parse(to_toml(model)).name, "a\xef\xbf\xbd\xef\xbf\xbdz");
}

TEST(ModelIdentity, EveryWrongValueIsRefusedByNameAndLine) {
  const std::string good = to_toml(example());
  parse(good);
  const std::string layers = "layers = 48";
  expect_refused(replaced(good, layers, ""), "file: line 1: model.layers is missing");
  expect_refused(replaced(good, layers, "layers = -1"), "line 5: model.layers is -1, outside 0 to");
  expect_refused(replaced(good, layers, "layers = 65536"), "model.layers is 65536, outside");
  expect_refused(replaced(good, layers, "layers = 1.5"), "model.layers is not an integer");
  expect_refused(replaced(good, layers, "layers = \"48\""), "model.layers is not an integer");
  expect_refused(replaced(good, layers, layers + "\nlayer = 1"),
                 "line 6: model.layer is not known");
  expect_refused(replaced(good, layers, layers + "\n" + layers), "line 6: ");
  expect_refused(replaced(good, "name = ", "name = 1 #"), "model.name is not a string");
  for (const char* hash : {"\"\"", "\"000000000000000\"", "\"00000000000000g1\"", "1",
                           "\"00000000000000001\"", "\"+000000000000001\""})
    expect_refused(replaced(good, "\"0000000000000001\"", hash), "model.metadata is not a string");
  expect_refused(replaced(good, "experts_used = 8", "experts_used = 129"), "exceeds");
  expect_refused("model = 1", "model is not a table");
  expect_refused("", "line 1: model is missing");
  expect_refused(good + "[other]\n", "other is not known");
  expect_refused(replaced(good, "[model]", "[model"), "line 1");
}

// As deep as the parser would follow them, their tables could not be destroyed.
TEST(ModelIdentity, DeepNestingIsRefused) {
  std::string dotted = "a", inline_tables = "a = ", arrays = "a = ", hidden = "a = {b = '=', c";
  for (int i = 0; i < 300000; ++i) {
    dotted += ".a";
    inline_tables += "{a = ";
    arrays += '[';
    hidden += i % 2 == 0 ? ". '='" : ".\"\\\"=\"";
  }
  expect_refused(dotted + " = 1\n", "too many parts");
  expect_refused("[" + dotted + "]\n", "too many parts");
  expect_refused(inline_tables, "line 1");
  expect_refused(arrays, "line 1");
  expect_refused(hidden + " = 1}\n", "too many parts");
  expect_refused("b = \"\"\"\n\"\"\"\n", "multi-line");
}

}  // namespace
}  // namespace hearth::profiler
