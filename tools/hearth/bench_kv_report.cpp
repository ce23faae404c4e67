#include "tools/hearth/bench_kv_report.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/cpu_kernels.h"

namespace hearth::tools {

using Json = nlohmann::ordered_json;

namespace {

std::string speed_key(std::uint32_t depth) { return fmt::format("tg_ts_d{}", depth); }

void add_speed(Json& record, const KvSpeed& speed) {
  std::vector<double> rates;
  for (const Nanoseconds time : speed.times) rates.push_back(speed.tokens / seconds(time));
  const Spread rate = spread(rates);
  record[speed_key(speed.depth)] = rate.mean;
  record[fmt::format("tg_stddev_ts_d{}", speed.depth)] = rate.deviation;
  record[fmt::format("logits_hash_d{}", speed.depth)] = fmt::format("{:016x}", speed.logits_hash);
}

Json or_null(const auto& optional) { return optional ? Json(*optional) : Json(nullptr); }

void add_divergence(Json& record, const std::optional<runtime::Divergence>& divergence) {
  record["kld_tokens"] = divergence ? Json(divergence->tokens()) : Json(nullptr);
  const auto add = [&](const char* key, auto value) {
    record[key] = divergence ? Json(value(*divergence)) : Json(nullptr);
  };
  add("kld_mean", [](const runtime::Divergence& d) { return d.mean(); });
  add("kld_standard_error", [](const runtime::Divergence& d) { return d.standard_error(); });
  add("kld_median", [](const runtime::Divergence& d) { return d.percentile(0.5); });
  add("kld_999", [](const runtime::Divergence& d) { return d.percentile(0.999); });
  add("same_top", [](const runtime::Divergence& d) { return d.same_top(); });
}

}  // namespace

Json kv_record(const KvSetup& setup, const KvResult& result) {
  const std::uint32_t tail = result.tail;
  Json record = {
      {"build_commit", "hearth " HEARTH_VERSION},
      {"cpu_info", cpu_name()},
      {"kernels", kernels::cpu_kernels(kernels::best_instruction_set()).name},
      {"model_filename", setup.model_path},
      {"model_type", setup.model_type},
      {"model_size", setup.model_size.count},
      {"n_threads", setup.threads},
      {"n_ctx", setup.context},
      {"type_k", result.keys},
      {"type_v", result.values},
      {"kv_tail", tail},
      {"kv_rotation", result.rotated},
      {"fill", setup.fill},
      {"kv_bytes_per_token", result.bytes_per_token},
      {"kv_bytes", result.slots ? Json(result.kv_bytes.count) : Json(nullptr)},
      {"expert_slots", or_null(result.slots)},
      {"expert_slots_above_f16", or_null(result.more_slots)},
      {"kld_text", setup.text.empty() ? Json(nullptr) : Json(setup.text)},
      {"kld_base", setup.text.empty() ? Json(nullptr) : Json("f32/f32")},
  };
  add_divergence(record, result.divergence);
  for (const KvSpeed& speed : result.speeds) add_speed(record, speed);
  return record;
}

std::vector<BenchColumn> kv_columns(const std::vector<std::uint32_t>& depths, bool timed,
                                    bool compared) {
  const auto number = [](std::string key, std::string format) {
    return [=](const Json& r) {
      if (!r.contains(key) || r[key].is_null()) return std::string("-");
      const double value = r[key].get<double>();
      const bool rounded_away = std::abs(value) < 5e-7;  // also what should be 0 and is not quite
      return fmt::format(fmt::runtime(format), rounded_away ? 0.0 : value);
    };
  };
  std::vector<BenchColumn> columns = {
      {"keys/values", -13,
       [](const Json& r) {
         return fmt::format("{}/{}", r["type_k"].get<std::string>(),
                            r["type_v"].get<std::string>());
       }},
      {"tail", 4, number("kv_tail", "{:.0f}")},
      {"rotated", -7, [](const Json& r) { return r["kv_rotation"] ? "yes" : "no"; }},
      {"bytes/token", 11, number("kv_bytes_per_token", "{:.0f}")}};
  if (timed)
    for (const std::uint32_t depth : depths)
      columns.push_back({fmt::format("t/s @ d{}", depth), 13, [=](const Json& r) {
                           if (!r.contains(speed_key(depth))) return std::string("-");
                           return fmt::format(
                               "{:.2f} ± {:.2f}", r[speed_key(depth)].get<double>(),
                               r[fmt::format("tg_stddev_ts_d{}", depth)].get<double>());
                         }});
  if (compared)
    for (const auto& [title, key] :
         {std::pair{"mean KLD", "kld_mean"}, std::pair{"median", "kld_median"},
          std::pair{"99.9 %", "kld_999"}})
      columns.push_back({title, 9, number(key, "{:.6f}")});
  if (compared)
    columns.push_back({"same top", 8, [](const Json& r) {
                         return r["same_top"].is_null()
                                    ? std::string("-")
                                    : fmt::format("{:.2f} %", 100 * r["same_top"].get<double>());
                       }});
  columns.push_back({"experts", 7, number("expert_slots", "{:.0f}")});
  columns.push_back({"than f16", 8, number("expert_slots_above_f16", "{:+.0f}")});
  return columns;
}

}  // namespace hearth::tools
