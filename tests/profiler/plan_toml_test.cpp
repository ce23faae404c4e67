#include "profiler/plan_toml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "profiler/planner.h"
#include "tests/profiler/support/needs.h"

namespace hearth::profiler {
namespace {

using ::testing::HasSubstr;

PlacementPlan some_plan() {
  PlacementPlan plan = plan_placement(
      small_needs(),
      {.budget = {.ram = Bytes(40'000'000)}, .context = 1000, .threads = 2, .policy = "lru"},
      nullptr, nullptr);
  plan.seed = {{.layer = 1, .index = 3}, {.layer = 0, .index = 0}};
  plan.seed_uses = {0.7f, 0.1f};
  return plan;
}

TierPlan some_vram() {
  return {.process = Bytes(1),
          .dense = Bytes(2),
          .kv = Bytes(3),
          .state = Bytes(4),
          .scratch = Bytes(5),
          .experts = Bytes(6),
          .slots_of_class = {7, 8},
          .held_of_class = {2, 8}};
}

ModelNeeds needs_of(const PlacementPlan& plan) {
  ModelNeeds needs = small_needs();
  while (needs.scratch.front().batch != plan.batch) needs.scratch.erase(needs.scratch.begin());
  return needs;
}

template <typename Action>
void expect_error(ErrorCode code, const std::string& part, Action action) {
  try {
    action();
    FAIL() << "accepted, expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(part));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, text.npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(PlanToml, ReadsWhatItWrites) {
  PlacementPlan plan = some_plan();
  plan.vram = some_vram();
  plan.key_format = "q8_0";
  plan.value_format = "iq4_nl";
  plan.kv_tail = 128;
  plan.kv_rotation = false;
  plan.policy_reason = "a \"reason\"\nof two lines";
  const PlacementPlan read = parse_plan(to_toml(plan), "plan");
  EXPECT_EQ(to_toml(read), to_toml(plan));
  EXPECT_EQ(read.model, plan.model);
  EXPECT_EQ(read.seed, plan.seed);
  EXPECT_EQ(read.seed_uses, plan.seed_uses);
  EXPECT_EQ(read.ram.total(), plan.ram.total());
  EXPECT_EQ(read.vram->slots_of_class, plan.vram->slots_of_class);
  EXPECT_EQ(read.vram->held_of_class, plan.vram->held_of_class);
  EXPECT_EQ(read.key_format, "q8_0");
  EXPECT_EQ(read.value_format, "iq4_nl");
  EXPECT_EQ(read.kv_tail, 128u);
  EXPECT_FALSE(read.kv_rotation);
}

TEST(PlanToml, RefusesWhatIsNoPlan) {
  const std::string text = to_toml(some_plan());
  const auto refused = [&](const std::string& changed, ErrorCode code, const std::string& part) {
    expect_error(code, part, [&] { parse_plan(changed, "p.toml"); });
  };
  refused("", ErrorCode::kBadFile, "no placement plan");
  refused(replaced(text, "version 1", "version 9"), ErrorCode::kUnsupported, "version 9");
  refused(replaced(text, "version 1", "version x"), ErrorCode::kBadFile, "no version");
  refused(replaced(text, "dense = ", "dense = -"), ErrorCode::kBadFile, "ram.dense");
  refused(replaced(text, "threads = 2", "threads = 0"), ErrorCode::kBadFile, "plan.threads");
  refused(replaced(text, "policy = ", "police = "), ErrorCode::kBadFile, "policy");
  refused(replaced(text, "seed = [19", "seed = [64"), ErrorCode::kBadFile, "plan.seed");
  refused(replaced(text, "seed = [19, 0]", "seed = [19]"), ErrorCode::kBadFile, "seed_uses");
  refused(replaced(text, "prefetch = true", "prefetch = 1"), ErrorCode::kBadFile, "plan.prefetch");
  refused(text.substr(0, text.find("[ram]")), ErrorCode::kBadFile, "ram is missing");
  refused(text + "more = 1\n", ErrorCode::kBadFile, "more");
}

TEST(PlanToml, IsForOneModel) {
  const PlacementPlan plan = some_plan();
  EXPECT_NO_THROW(check_plan_of(plan, needs_of(plan), "p.toml"));
  ModelNeeds other = needs_of(plan);
  other.model.types += 1;
  other.model.formats = "Q8_0 100 %";
  expect_error(ErrorCode::kBadInput, "another quantisation",
               [&] { check_plan_of(plan, other, "p.toml"); });
}

TEST(PlanToml, GivesEveryPartWhatItNeeds) {
  const auto refused = [](const std::string& part, auto change,
                          ErrorCode code = ErrorCode::kBadInput) {
    PlacementPlan plan = some_plan();
    const ModelNeeds needs = needs_of(plan);
    change(plan);
    expect_error(code, part, [&] { check_plan_of(plan, needs, "p.toml"); });
  };
  refused("not an expert", [](PlacementPlan& p) { p.ram.dense += Bytes(1); });
  refused("KV cache", [](PlacementPlan& p) { p.context += 32; });
  refused("scratch", [](PlacementPlan& p) { p.ram.scratch -= Bytes(1); });
  refused("memory of the experts", [](PlacementPlan& p) { p.ram.experts += Bytes(1); });
  refused("sizes of experts", [](PlacementPlan& p) { p.ram.slots_of_class.pop_back(); });
  refused("outside 2 to 32", [](PlacementPlan& p) { p.ram.slots_of_class[0] = 1; });
  refused("outside 2 to 32", [](PlacementPlan& p) { p.ram.slots_of_class[1] = 33; });
  refused("twice", [](PlacementPlan& p) { p.seed[1] = p.seed[0]; });
  refused("63", [](PlacementPlan& p) { p.experts = 63; });
  refused("GPU", [](PlacementPlan& p) { p.vram = some_vram(); }, ErrorCode::kUnsupported);
  refused("keys in q8_0", [](PlacementPlan& p) { p.key_format = "q8_0"; });
  refused("values in q4_1", [](PlacementPlan& p) { p.value_format = "q4_1"; });
  refused("a tail of 7", [](PlacementPlan& p) { p.kv_tail = 7; });
  refused("without rotation", [](PlacementPlan& p) { p.kv_rotation = false; });
  refused(
      "no cache policy", [](PlacementPlan& p) { p.policy = "oracle"; }, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace hearth::profiler
