#include "profiler/plan_toml.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/cache_policy.h"
#include "profiler/model_identity_toml.h"
#include "profiler/table_toml.h"

namespace hearth::profiler {
namespace {

constexpr std::string_view kFirstLine = "# Placement plan of Hearth, version ";
constexpr Bytes kMostText = kMiB * 64;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 47;  // of one part; memory has fewer
constexpr std::uint64_t kMostCount = 0xffffffff;
constexpr double kMostUses = 65536;  // per token; an expert has at most one

template <typename Values>
void write_array(std::string& text, std::string_view key, const Values& values) {
  fmt::format_to(std::back_inserter(text), "{} = [{}]\n", key, fmt::join(values, ", "));
}

void write_tier(std::string& text, std::string_view name, const TierPlan& tier) {
  text += fmt::format(
      "\n[{}]\nprocess = {}\ndense = {}\nkv = {}\nstate = {}\nscratch = {}\nexperts = {}\n", name,
      tier.process.count, tier.dense.count, tier.kv.count, tier.state.count, tier.scratch.count,
      tier.experts.count);
  write_array(text, "slots_of_class", tier.slots_of_class);
  if (!tier.held_of_class.empty()) write_array(text, "held_of_class", tier.held_of_class);
}

// For people; not read back.
std::string remarks(const PlacementPlan& plan) {
  std::string text = "# hearth plan makes this file, --plan takes it. Sizes are in bytes.\n";
  if (plan.prediction)
    text += fmt::format("# Predicted: {:.1f} tok/s ({:.1f} to {:.1f}), bound by {}.\n",
                        plan.prediction->tokens_per_second, plan.prediction->low,
                        plan.prediction->high, plan.prediction->binding_link);
  return text;
}

void check_version(std::string_view text, const std::string& name) {
  if (!text.starts_with(kFirstLine))
    throw_error(ErrorCode::kBadFile, "{}: this is no placement plan; hearth plan -o makes one",
                printable(name));
  const std::string_view number = text.substr(kFirstLine.size());
  int version = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), version);
  if (error != std::errc() || version < 1 || end == number.data() + number.size() || *end != '\n')
    throw_error(ErrorCode::kBadFile, "{}: the plan has no version; make it again with hearth plan",
                printable(name));
  if (version > kPlanVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: the plan has version {}, this program reads versions up to {}; update it",
                printable(name), version, kPlanVersion);
}

std::uint32_t count_of(TableReader& table, std::string_view key, std::uint64_t least) {
  return static_cast<std::uint32_t>(table.count(key, {least, kMostCount}));
}

TierPlan read_tier(TableReader table) {
  const auto bytes = [&](std::string_view key) { return Bytes(table.count(key, {0, kMostBytes})); };
  TierPlan tier{.process = bytes("process"),
                .dense = bytes("dense"),
                .kv = bytes("kv"),
                .state = bytes("state"),
                .scratch = bytes("scratch"),
                .experts = bytes("experts")};
  for (const std::uint64_t slots : table.counts("slots_of_class", {0, kMostCount}))
    tier.slots_of_class.push_back(static_cast<std::uint32_t>(slots));
  if (table.has("held_of_class"))
    for (const std::uint64_t slots : table.counts("held_of_class", {0, kMostCount}))
      tier.held_of_class.push_back(static_cast<std::uint32_t>(slots));
  table.finish();
  return tier;
}

// Which experts there are is not known here; that each is listed once is checked with the model.
void read_seed(TableReader& table, PlacementPlan& plan) {
  const ExpertSpace space{plan.model.layers, plan.model.experts_per_layer};
  const std::uint64_t most = std::uint64_t{space.layers} * space.experts_per_layer;
  for (const std::uint64_t expert : table.counts("seed", {0, most == 0 ? 0 : most - 1})) {
    if (most == 0 || plan.seed.size() == most) table.fail("seed", "lists more than all experts");
    plan.seed.push_back(space.id(static_cast<std::uint32_t>(expert)));
  }
  for (const double uses : table.reals("seed_uses", {0, kMostUses}))
    plan.seed_uses.push_back(static_cast<float>(uses));
  if (plan.seed.size() != plan.seed_uses.size())
    table.fail("seed_uses", "has another length than seed");
}

PlacementPlan read_plan(TableReader root) {
  PlacementPlan plan;
  plan.model = read_model_identity(root.table("model"));
  if (std::uint64_t{plan.model.layers} * plan.model.experts_per_layer > kMostCount)
    root.fail("model", "has more experts than can be numbered");
  TableReader table = root.table("plan");
  plan.context = count_of(table, "context", 1);
  plan.batch = count_of(table, "batch", 1);
  plan.threads = static_cast<std::uint32_t>(table.count("threads", {1, 1024}));
  plan.key_format = table.string("key_format");
  plan.value_format = table.string("value_format");
  plan.kv_tail = count_of(table, "kv_tail", 0);
  plan.kv_rotation = table.boolean("kv_rotation");
  plan.experts = count_of(table, "experts", 0);
  plan.policy = table.string("policy");
  plan.policy_reason = table.string("policy_reason");
  plan.prefetch = table.boolean("prefetch");
  read_seed(table, plan);
  table.finish();
  plan.ram = read_tier(root.table("ram"));
  if (root.has("vram")) plan.vram = read_tier(root.table("vram"));
  root.finish();
  return plan;
}

[[noreturn]] void contradicts(const std::string& path, const std::string& what) {
  throw_error(ErrorCode::kBadInput, "{}: {}; make the plan again with hearth plan", printable(path),
              what);
}

void check_bytes(const std::string& path, std::string_view what, Bytes planned, Bytes needed) {
  if (planned == needed) return;
  contradicts(path, fmt::format("{} takes {} bytes here, the plan has {}", what, needed.count,
                                planned.count));
}

void check_slots(const TierPlan& tier, const ModelNeeds& needs, const std::string& path) {
  if (tier.slots_of_class.size() != needs.classes.size())
    contradicts(path, fmt::format("the model has {} sizes of experts, the plan {}",
                                  needs.classes.size(), tier.slots_of_class.size()));
  Bytes total;
  for (std::size_t c = 0; c < needs.classes.size(); ++c) {
    const ExpertClass& one = needs.classes[c];
    const std::uint32_t slots = tier.slots_of_class[c];
    const std::uint32_t least = std::min(needs.model.experts_used, one.experts);
    if (slots < least || slots > one.experts)
      contradicts(path, fmt::format("{} slots for experts of {} bytes are outside {} to {}", slots,
                                    one.expert.count, least, one.experts));
    total += one.slot * slots;
  }
  check_bytes(path, "the memory of the experts", tier.experts, total);
}

void check_seed(const PlacementPlan& plan, const ModelNeeds& needs, const std::string& path) {
  std::vector<std::uint32_t> free = plan.ram.slots_of_class;
  std::vector<bool> listed(needs.space().size(), false);
  for (const ExpertId id : plan.seed) {
    if (id.index >= needs.experts_of_layer[id.layer])
      contradicts(path, fmt::format("layer {} has no expert {}", id.layer, id.index));
    if (listed[needs.space().flat(id)])
      contradicts(path,
                  fmt::format("expert {} of layer {} is in the seed twice", id.index, id.layer));
    listed[needs.space().flat(id)] = true;
    if (free[needs.class_of_layer[id.layer]]-- == 0)
      contradicts(path, "the seed has more experts than slots");
  }
}

}  // namespace

std::string to_toml(const PlacementPlan& plan) {
  std::string text = fmt::format("{}{}\n{}\n", kFirstLine, kPlanVersion, remarks(plan));
  text += to_toml(plan.model);
  text += fmt::format(
      "\n[plan]\ncontext = {}\nbatch = {}\nthreads = {}\nkey_format = {}\nvalue_format = {}\n"
      "kv_tail = {}\nkv_rotation = {}\nexperts = {}\npolicy = {}\npolicy_reason = {}\nprefetch = "
      "{}\n",
      plan.context, plan.batch, plan.threads, quoted(plan.key_format), quoted(plan.value_format),
      plan.kv_tail, plan.kv_rotation, plan.experts, quoted(plan.policy), quoted(plan.policy_reason),
      plan.prefetch);
  std::vector<std::uint32_t> seed;
  const ExpertSpace space{plan.model.layers, plan.model.experts_per_layer};
  for (const ExpertId id : plan.seed) seed.push_back(space.flat(id));
  write_array(text, "seed", seed);
  write_array(text, "seed_uses", plan.seed_uses);
  write_tier(text, "ram", plan.ram);
  if (plan.vram) write_tier(text, "vram", *plan.vram);
  return text;
}

PlacementPlan parse_plan(std::string_view text, const std::string& name) {
  check_version(text, name);
  const toml::table root = parse_toml(text, name);
  return read_plan(TableReader(root, name));
}

PlacementPlan load_plan(const std::string& path) {
  return parse_plan(read_small_file(path, kMostText), path);
}

void save_plan(const std::string& path, const PlacementPlan& plan) {
  replace_file(path, to_toml(plan));
}

void check_plan_of(const PlacementPlan& plan, const ModelNeeds& needs, const std::string& path) {
  if (const auto found = difference(plan.model, needs.model))
    throw_error(ErrorCode::kBadInput, "{}: the plan {}; make one for this model with hearth plan",
                printable(path), *found);
  if (plan.vram)
    throw_error(ErrorCode::kUnsupported,
                "{}: the plan places {} slots on a GPU, which a plan in a file cannot do yet; give "
                "--device and --vram instead, or make one with hearth plan --vram 0",
                printable(path), plan.vram->slots());
  const KvNeeds& kv = needs.kv;
  if (plan.key_format != kv.key_format || plan.value_format != kv.value_format ||
      plan.kv_tail != kv.tail)
    contradicts(path, fmt::format("the plan has keys in {} and values in {} with a tail of {}, "
                                  "here they are in {} and {} with a tail of {}",
                                  printable(plan.key_format), printable(plan.value_format),
                                  plan.kv_tail, kv.key_format, kv.value_format, kv.tail));
  if (plan.kv_rotation != kv.rotated)
    contradicts(
        path, fmt::format("the plan has a KV cache {} rotation, here it is {}",
                          plan.kv_rotation ? "with" : "without", kv.rotated ? "with" : "without"));
  const auto names = policy_names();
  if (std::ranges::find(names, plan.policy) == names.end())
    throw_error(ErrorCode::kUnsupported, "{}: this version has no cache policy {}", printable(path),
                printable(plan.policy));
  if (plan.experts != needs.experts())
    contradicts(
        path, fmt::format("the model has {} experts, the plan {}", needs.experts(), plan.experts));
  check_bytes(path, "what is not an expert", plan.ram.dense, needs.dense);
  check_bytes(path, "the KV cache", plan.ram.kv, kv.bytes(plan.context, plan.batch));
  check_bytes(path, "the state", plan.ram.state, needs.state);
  check_bytes(path, "scratch", plan.ram.scratch, needs.scratch.front().bytes);
  check_slots(plan.ram, needs, path);
  check_seed(plan, needs, path);
}

}  // namespace hearth::profiler
