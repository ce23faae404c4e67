#include "tools/hearth/plan_report.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

using profiler::PlacementPlan;
using profiler::TierPlan;

template <typename... Args>
void row(std::string_view title, fmt::format_string<Args...> format, Args&&... args) {
  fmt::print("{:<10}{}\n", title, fmt::format(format, std::forward<Args>(args)...));
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

// One line of bytes: RAM, and VRAM where the plan has some.
void memory_row(const PlacementPlan& plan, std::string_view title, Bytes TierPlan::* part,
                const std::string& of = {}) {
  const Bytes ram = plan.ram.*part, vram = plan.vram ? *plan.vram.*part : Bytes(0);
  if (ram == Bytes(0) && vram == Bytes(0)) return;
  std::string line = fmt::format("  {:<15}{:>16}", title, format_grouped(ram.count));
  if (plan.vram) line += fmt::format("{:>16}", format_grouped(vram.count));
  fmt::print("{}{}{}\n", line, of.empty() ? "" : "  ", of);
}

// What one more token of context takes, in whole tiles of many.
Bytes kv_bytes_per_token(const profiler::KvNeeds& kv) {
  return Bytes(kv.keys.per_tile.count / kv.keys.tile + kv.values.per_tile.count / kv.values.tile);
}

void print_memory(const PlacementPlan& plan, const profiler::KvNeeds& kv) {
  fmt::print("{:<17}{:>16}", "bytes", "RAM");
  if (plan.vram) fmt::print("{:>16}", "VRAM");
  fmt::print("\n");
  memory_row(plan, "process", &TierPlan::process,
             plan.vram ? "process; driver and context" : "an upper bound");
  memory_row(plan, "dense weights", &TierPlan::dense);
  memory_row(plan, "KV cache", &TierPlan::kv,
             fmt::format("{} tokens, {}, {} bytes for each more", format_grouped(plan.context),
                         kv_text(plan), format_grouped(kv_bytes_per_token(kv).count)));
  memory_row(plan, "state", &TierPlan::state,
             fmt::format("{} that recurrent layers remember of a session",
                         format_size(plan.vram ? plan.vram->state : plan.ram.state)));
  memory_row(plan, "scratch", &TierPlan::scratch,
             fmt::format("{} tokens at a time, {} threads", plan.batch, plan.threads));
  memory_row(plan, "experts", &TierPlan::experts);
  std::string total =
      fmt::format("  {:<15}{:>16}", "total", format_grouped(plan.ram.total().count));
  if (plan.vram) total += fmt::format("{:>16}", format_grouped(plan.vram->total().count));
  const Bytes all = plan.ram.total() + (plan.vram ? plan.vram->total() : Bytes(0));
  fmt::print("{}  {}\n", total, format_size(all));
}

void print_slots(const profiler::ModelNeeds& needs, const PlacementPlan& plan) {
  const auto print = [&](std::string_view title, const TierPlan& tier,
                         Bytes profiler::ExpertClass::* slot) {
    row(title, "{} of {} experts fit ({:.1f} %)", format_grouped(tier.slots()),
        format_grouped(plan.experts), percent(tier.slots(), plan.experts));
    for (std::size_t c = 0; c < needs.classes.size(); ++c)
      fmt::print("          {:>9} of {:>6} of {} bytes\n", format_grouped(tier.slots_of_class[c]),
                 format_grouped(needs.classes[c].experts),
                 format_grouped((needs.classes[c].*slot).count));
  };
  if (plan.vram) print("in VRAM", *plan.vram, &profiler::ExpertClass::device_slot);
  print("in RAM", plan.ram, &profiler::ExpertClass::slot);
  if (plan.vram) row("tiers", "{}", tiers_text(plan));
}

void print_policy(const profiler::ModelNeeds& needs, const PlacementPlan& plan) {
  row("policy", "{}: {}", plan.policy, plan.policy_reason);
  row("prefetch", "{}", plan.prefetch ? "on" : "off");
  if (plan.seed.empty()) {
    row("seed", "none: no profile says which experts are wanted first");
    return;
  }
  Bytes bytes;
  for (const ExpertId id : plan.seed) bytes += needs.classes[needs.class_of_layer[id.layer]].expert;
  row("seed", "{} experts, {}, loaded before the first token", format_grouped(plan.seed.size()),
      format_size(bytes));
}

void print_prediction(const PlacementPlan& plan) {
  if (plan.hits)
    row("hits", "{:.1f} % of expert bytes ({:.1f} to {:.1f}), {}", 100 * plan.hits->expected,
        100 * plan.hits->low, 100 * plan.hits->high, plan.hits->source);
  if (!plan.prediction) return;
  const profiler::DecodePrediction& p = *plan.prediction;
  row("decode", "{:.1f} tok/s ({:.1f} to {:.1f}), bound by {}", p.tokens_per_second, p.low, p.high,
      p.binding_link);
  for (const profiler::LinkTime& link : p.links) {
    fmt::print("  {:<15}{:>12}", link.link, format_duration(link.time));
    if (link.bytes > Bytes(0))
      fmt::print(" a token: {:.1f} MB at {:.2f} GB/s", static_cast<double>(link.bytes.count) / 1e6,
                 link.rate / 1e9);
    fmt::print("\n");
  }
}

void print_advice(const PlanReport& report) {
  if (report.advice.empty()) return;
  const double now = report.plan.prediction->tokens_per_second;
  fmt::print("advice    what one change would give\n");
  for (const profiler::Advice& one : report.advice)
    fmt::print("  {:>8.1f} tok/s {:>7}  {}\n", one.tokens_per_second,
               fmt::format("+{:.0f} %", percent(one.tokens_per_second - now, now)), one.change);
}

}  // namespace

void print_plan(const PlanReport& report) {
  const PlacementPlan& plan = report.plan;
  row("model", "{} {}, {}", printable(plan.model.architecture), printable(plan.model.name),
      plan.model.formats);
  if (!report.machine.empty()) row("machine", "{}", report.machine);
  row("budget", "{}", report.memory_from);
  print_memory(plan, report.needs.kv);
  print_slots(report.needs, plan);
  print_policy(report.needs, plan);
  print_prediction(plan);
  for (const std::string& note : plan.notes) row("note", "{}", note);
  for (const std::string& note : report.notes) row("note", "{}", note);
  print_advice(report);
}

namespace {

using Json = nlohmann::ordered_json;

Json tier_json(const TierPlan& tier) {
  return {{"process", tier.process.count},
          {"dense", tier.dense.count},
          {"kv", tier.kv.count},
          {"state", tier.state.count},
          {"scratch", tier.scratch.count},
          {"experts", tier.experts.count},
          {"total", tier.total().count},
          {"slots", tier.slots()},
          {"slots_of_class", tier.slots_of_class}};
}

Json vram_json(const TierPlan& tier) {
  Json json = tier_json(tier);
  json["held"] = tier.held();
  json["held_of_class"] = tier.held_of_class;
  return json;
}

Json prediction_json(const profiler::DecodePrediction& prediction) {
  Json links = Json::array();
  for (const profiler::LinkTime& link : prediction.links)
    links.push_back({{"link", link.link},
                     {"bytes_per_token", link.bytes.count},
                     {"bytes_per_s", link.rate},
                     {"ns_per_token", link.time.count()}});
  return {{"tok_s", prediction.tokens_per_second},
          {"tok_s_low", prediction.low},
          {"tok_s_high", prediction.high},
          {"binding_link", prediction.binding_link},
          {"links", links}};
}

}  // namespace

std::string plan_json(const PlanReport& report) {
  const PlacementPlan& plan = report.plan;
  Json json = {{"model_filename", report.model_path},
               {"file_bytes", report.file_bytes.count},
               {"machine", report.machine.empty() ? Json(nullptr) : Json(report.machine)},
               {"n_ctx", plan.context},
               {"n_ubatch", plan.batch},
               {"n_threads", plan.threads},
               {"type_k", plan.key_format},
               {"type_v", plan.value_format},
               {"kv_tail", plan.kv_tail},
               {"kv_rotation", plan.kv_rotation},
               {"ram", tier_json(plan.ram)},
               {"vram", plan.vram ? vram_json(*plan.vram) : Json(nullptr)},
               {"kv_bytes_per_token", kv_bytes_per_token(report.needs.kv).count},
               {"experts_total", plan.experts},
               {"policy", plan.policy},
               {"policy_reason", plan.policy_reason},
               {"prefetch", plan.prefetch},
               {"seeded_experts", plan.seed.size()}};
  json["classes"] = Json::array();
  for (const profiler::ExpertClass& one : report.needs.classes)
    json["classes"].push_back({{"slot", one.slot.count},
                               {"device_slot", one.device_slot.count},
                               {"expert", one.expert.count},
                               {"experts", one.experts}});
  json["hits"] = plan.hits ? Json{{"expected", plan.hits->expected},
                                  {"low", plan.hits->low},
                                  {"high", plan.hits->high},
                                  {"source", plan.hits->source}}
                           : Json(nullptr);
  json["prediction"] = plan.prediction ? prediction_json(*plan.prediction) : Json(nullptr);
  json["notes"] = plan.notes;
  for (const std::string& note : report.notes) json["notes"].push_back(note);
  json["advice"] = Json::array();
  for (const profiler::Advice& one : report.advice)
    json["advice"].push_back({{"change", one.change}, {"tok_s", one.tokens_per_second}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hearth::tools
