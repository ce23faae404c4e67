#include "tools/hearth/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "runtime/gpu/choose_device.h"
#include "runtime/gpu/device_model.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {

using Json = nlohmann::ordered_json;

Spread spread(const std::vector<double>& samples) {
  const auto count = static_cast<double>(samples.size());
  Spread result{.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / count};
  if (samples.size() < 2) return result;
  double squares = 0;
  for (const double sample : samples) squares += (sample - result.mean) * (sample - result.mean);
  result.deviation = std::sqrt(squares / (count - 1));
  return result;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

namespace {

Json measured(double value) { return value > 0 ? Json(value) : Json(nullptr); }

Json ratio(double part, double whole) { return whole > 0 ? Json(part / whole) : Json(nullptr); }

void add_times(Json& record, const BenchResult& result) {
  std::vector<double> times, rates;
  std::vector<std::int64_t> nanoseconds;
  for (const Nanoseconds time : result.times) {
    nanoseconds.push_back(time.count());
    times.push_back(static_cast<double>(time.count()));
    rates.push_back(result.point.tokens() / seconds(time));
  }
  const Spread time = spread(times), rate = spread(rates);
  record["avg_ns"] = std::llround(time.mean);
  record["stddev_ns"] = std::llround(time.deviation);
  record["avg_ts"] = rate.mean;
  record["stddev_ts"] = rate.deviation;
  record["samples_ns"] = nanoseconds;
  record["samples_ts"] = rates;
}

// What begins cold with a profile is not empty.
std::string cache_state(const BenchSetup& setup) {
  const bool seeded = setup.settings.cache == CacheState::kCold && !setup.engine.seed().empty();
  return std::string(seeded ? "seeded" : name_of(setup.settings.cache));
}

std::string device_text(const runtime::DeviceModel& model) {
  return printable(model.device().properties().name);
}

// Weights that a token reads from memory, and what rate that is beside that of plain reads. Tokens
// of a prompt share what they read.
void add_memory_traffic(Json& record, const BenchSetup& setup, const BenchResult& result) {
  const double ram_peak =
      result.memory_rate > 0 ? result.memory_rate : setup.peaks.ram_bytes_per_second;
  record["ram_peak_bytes_per_s"] = measured(ram_peak);
  record["weight_bytes_per_token"] = nullptr;
  record["share_of_ram_peak"] = nullptr;
  if (result.point.prompt > 0) return;
  const runtime::Model& model = setup.engine.model();
  const Bytes bytes = model.dense_bytes_per_token() + model.expert_bytes_per_token();
  record["weight_bytes_per_token"] = bytes.count;
  if (setup.engine.device_model() != nullptr) return;  // they are not in RAM
  record["share_of_ram_peak"] =
      ratio(record["avg_ts"].get<double>() * static_cast<double>(bytes.count), ram_peak);
}

void add_traffic(Json& record, const BenchSetup& setup, const BenchResult& result) {
  const ExpertTraffic& traffic = result.traffic;
  const auto repetitions = static_cast<double>(result.times.size());
  const double read = static_cast<double>(traffic.read.count);
  const double read_per_token = read / (repetitions * result.point.tokens());
  const double elapsed =
      seconds(std::accumulate(result.times.begin(), result.times.end(), Nanoseconds(0)));
  const double disk_peak = setup.peaks.disk_bytes_per_second;
  record["cache_state"] = cache_state(setup);
  record["experts_seeded"] = setup.engine.seed().size();
  record["expert_hit_rate"] =
      ratio(static_cast<double>(traffic.hits), static_cast<double>(traffic.hits + traffic.misses));
  record["bytes_read"] = traffic.read.count;
  record["read_bytes_per_token"] = read_per_token;
  record["stall_ns"] = traffic.disk_wait.count();
  record["stall_share"] = ratio(seconds(traffic.disk_wait), elapsed);
  record["prefetch_issued"] = traffic.prefetches;
  record["prefetch_used"] = traffic.prefetches_used;
  record["disk_peak_bytes_per_s"] = measured(disk_peak);
  record["share_of_disk_peak"] = ratio(read / elapsed, disk_peak);

  double bound = setup.in_memory_tok_s.value_or(0);
  record["in_memory_tok_s"] = measured(bound);
  record["disk_bound_tok_s"] = read > 0 ? measured(disk_peak / read_per_token) : Json(nullptr);
  if (read > 0 && disk_peak > 0)
    bound = bound > 0 ? std::min(bound, disk_peak / read_per_token) : disk_peak / read_per_token;
  record["of_bound"] = ratio(record["avg_ts"].get<double>(), bound);
}

void add_lane_times(Json& record, const runtime::LaneTime& time) {
  if (time.steps == 0) return;
  const auto of_token = [&](Nanoseconds all) {
    return static_cast<double>(all.count()) / static_cast<double>(time.steps);
  };
  record["hits_ns_per_token"] = of_token(time.hits);
  record["link_ns_per_token"] = of_token(time.gather);
  record["link_wait_ns_per_token"] = of_token(time.waits_for_link);
  record["fetched_ns_per_token"] = of_token(time.fetched);
  record["cpu_wait_ns_per_token"] = of_token(time.waits_for_cpu);
}

// What a device and its lanes did for a token: nothing where there is none. Tokens of a prompt
// share what they read.
void add_device(Json& record, const BenchSetup& setup, const BenchResult& result) {
  for (const char* key :
       {"vram_budget_bytes",         "vram_peak_bytes",          "launches_overlap",
        "launches_per_token",        "nodes_per_token",          "host_syncs_per_token",
        "host_syncs_inside_steps",   "launches_per_chunk",       "host_syncs_per_chunk",
        "experts_fetched_per_token", "experts_on_cpu_per_token", "experts_not_in_ram_per_token",
        "experts_staged_per_token",  "chunk_resident_share",     "vram_read_bytes_per_token",
        "vram_peak_bytes_per_s",     "share_of_vram_peak",       "link_bytes_per_token",
        "link_peak_bytes_per_s",     "share_of_link_peak",       "cpu_lane_bytes_per_token",
        "cpu_lane_ns_per_token",     "cpu_lane_share",           "hits_ns_per_token",
        "link_ns_per_token",         "link_wait_ns_per_token",   "fetched_ns_per_token",
        "cpu_wait_ns_per_token"})
    record[key] = nullptr;
  runtime::DeviceModel* const model = setup.engine.device_model();
  if (model == nullptr) return;
  const runtime::DeviceWork& work = result.traffic.device;
  const double tokens = static_cast<double>(result.times.size()) * result.point.tokens();
  const double rate = record["avg_ts"];
  const auto of_token = [&](double amount) { return amount / tokens; };
  const auto bytes_of_token = [&](Bytes bytes) {
    return of_token(static_cast<double>(bytes.count));
  };
  if (setup.vram_budget) record["vram_budget_bytes"] = setup.vram_budget->count;
  record["vram_peak_bytes"] = model->device().peak().count;
  // The CPU's expert memory counts what was left to it.
  record["expert_hit_rate"] =
      ratio(static_cast<double>(work.experts.hits), static_cast<double>(work.chosen()));
  record["launches_overlap"] = model->device().properties().begins_early;
  record["launches_per_token"] = of_token(static_cast<double>(work.launches));
  record["nodes_per_token"] = of_token(static_cast<double>(work.nodes));
  record["host_syncs_per_token"] = of_token(static_cast<double>(work.waits));
  record["host_syncs_inside_steps"] = work.waits_inside();
  const auto of_chunk = [&](std::uint64_t calls) {
    return ratio(static_cast<double>(calls), static_cast<double>(work.chunks));
  };
  record["launches_per_chunk"] = of_chunk(work.launches_of_chunks);
  record["host_syncs_per_chunk"] = of_chunk(work.waits_of_chunks);
  record["experts_fetched_per_token"] = of_token(static_cast<double>(work.experts.fetched));
  record["experts_on_cpu_per_token"] = of_token(static_cast<double>(work.experts.on_host));
  record["experts_not_in_ram_per_token"] = of_token(static_cast<double>(work.experts.not_in_ram));
  record["experts_staged_per_token"] = of_token(static_cast<double>(work.of_chunks.staged));
  record["chunk_resident_share"] =
      ratio(static_cast<double>(work.of_chunks.resident), static_cast<double>(work.passed()));
  const double link = bytes_of_token(work.link_bytes());
  record["link_bytes_per_token"] = link;
  record["cpu_lane_bytes_per_token"] = bytes_of_token(work.on_host_bytes);
  record["cpu_lane_ns_per_token"] = of_token(static_cast<double>(work.on_host.count()));
  record["cpu_lane_share"] = ratio(of_token(static_cast<double>(work.on_host.count())), 1e9 / rate);
  if (setup.gpu) {
    const double peak = link_peak(work, *setup.gpu);
    record["link_peak_bytes_per_s"] = measured(peak);
    record["share_of_link_peak"] = ratio(link * rate, peak);
    record["vram_peak_bytes_per_s"] = measured(setup.gpu->memory_read);
  }
  if (result.point.prompt > 0) return;
  add_lane_times(record, result.lanes);
  const BenchPoint& point = result.point;
  const double vram = static_cast<double>(setup.engine.model().dense_bytes_per_token().count) +
                      bytes_of_token(work.read_from_vram()) +
                      setup.engine.needs().kv.bytes_read(point.depth + point.generate / 2) +
                      static_cast<double>(setup.engine.needs().state.count);
  record["vram_read_bytes_per_token"] = vram;
  if (setup.gpu) record["share_of_vram_peak"] = ratio(vram * rate, setup.gpu->memory_read);
}

// Null where no expert changes its slot.
Json gpu_cache(const runtime::Engine& engine) {
  const runtime::DeviceModel* const model = engine.device_model();
  if (model == nullptr || model->lanes() == nullptr) return nullptr;
  return runtime::name_of(engine.gpu_cache());
}

}  // namespace

Json bench_record(const BenchSetup& setup, const BenchResult& result) {
  const runtime::Engine& engine = setup.engine;
  const profiler::PlacementPlan& plan = engine.plan();
  const bool on_device = engine.device_model() != nullptr;
  Json record = {
      {"build_commit", "hearth " HEARTH_VERSION},
      {"cpu_info", cpu_name()},
      {"backends", on_device ? engine.device_name() : "CPU"},
      {"gpu_info", on_device ? device_text(*engine.device_model()) : ""},
      {"kernels", engine.kernels().name},
      {"model_filename", setup.model_path},
      {"model_type", setup.model_type},
      {"model_size", engine.file().file_bytes().count},
      {"model_n_params", setup.parameters},
      {"n_batch", plan.batch},
      {"n_ubatch", plan.batch},
      {"n_threads", engine.threads()},
      {"type_k", plan.key_format},
      {"type_v", plan.value_format},
      {"kv_tail", plan.kv_tail},
      {"kv_rotation", plan.kv_rotation},
      {"use_mmap", false},
      {"use_direct_io", engine.io_is_direct()},
      {"io", engine.io_description()},
      {"expert_slots", on_device ? plan.vram->slots() : plan.ram.slots()},
      {"vram_planned", on_device ? Json(plan.vram->total().count) : Json(nullptr)},
      {"vram_planned_experts", on_device ? Json(plan.vram->experts.count) : Json(nullptr)},
      {"experts_total", plan.experts},
      {"policy", plan.policy},
      {"prefetch", engine.prefetching()},
      {"gpu_cache", gpu_cache(engine)},
      {"n_prompt", result.point.prompt},
      {"n_gen", result.point.generate},
      {"n_depth", result.point.depth},
      {"test", result.point.name()},
      {"test_time", result.test_time},
      {"tokens", setup.token_source},
      {"routing", setup.routing},
      {"decode", setup.settings.greedy ? "greedy" : "forced"}};
  add_times(record, result);
  add_memory_traffic(record, setup, result);
  add_traffic(record, setup, result);
  add_device(record, setup, result);
  record["memory_planned_bytes"] = plan.ram.total().count;
  record["memory_peak_bytes"] = runtime::peak_memory().count;
  record["logits_hash"] = fmt::format("{:016x}", result.logits_hash);
  return record;
}

std::optional<BenchFormat> parse_bench_format(std::string_view name) {
  if (name == "md") return BenchFormat::kMarkdown;
  if (name == "csv") return BenchFormat::kCsv;
  if (name == "json") return BenchFormat::kJson;
  if (name == "jsonl") return BenchFormat::kJsonLines;
  return std::nullopt;
}

namespace {

std::string percent(const Json& share) {
  return share.is_null() ? "-" : fmt::format("{:.1f} %", 100 * share.get<double>());
}

std::string or_dash(const Json& number, std::string_view unit) {
  return number.is_null() ? "-" : fmt::format("{:.1f}{}", number.get<double>(), unit);
}

std::string megabytes(const Json& bytes) {
  return fmt::format("{:.2f}", bytes.get<double>() / 1e6);
}

bool on_device(const Json& record) { return !record["vram_peak_bytes"].is_null(); }

// Of a prompt what its chunks found on a device, if it had any.
const Json& hits(const Json& record) {
  const Json& of_chunks = record["chunk_resident_share"];
  return record["n_gen"] == 0 && !of_chunks.is_null() ? of_chunks : record["expert_hit_rate"];
}

}  // namespace

std::vector<BenchColumn> bench_columns() {
  return {
      {"model", -24, [](const Json& r) { return r["model_type"].get<std::string>(); }},
      {"size", 10, [](const Json& r) { return format_size(Bytes(r["model_size"])); }},
      {"params", 8, [](const Json& r) { return format_count(r["model_n_params"]); }},
      {"backend", -12,
       [](const Json& r) {
         const auto backend = r["backends"].get<std::string>();
         return backend == "CPU" ? fmt::format("CPU {}", r["kernels"].get<std::string>()) : backend;
       }},
      {"threads", 7, [](const Json& r) { return r["n_threads"].dump(); }},
      {"experts", 7,
       [](const Json& r) {
         return fmt::format("{:.0f} %", 100.0 * r["expert_slots"].get<double>() /
                                            r["experts_total"].get<double>());
       }},
      {"cache", 8, [](const Json& r) { return r["cache_state"].get<std::string>(); }},
      {"KV", -9,
       [](const Json& r) {
         return fmt::format("{}/{}", r["type_k"].get<std::string>(),
                            r["type_v"].get<std::string>());
       },
       [](const Json& r) { return r["type_k"] != "f16" || r["type_v"] != "f16"; }},
      {"routing", -8, [](const Json& r) { return r["routing"].get<std::string>(); },
       [](const Json& r) { return r["routing"] != "router"; }},
      {"test", 14, [](const Json& r) { return r["test"].get<std::string>(); }},
      {"t/s", 16,
       [](const Json& r) {
         return fmt::format("{:.2f} ± {:.2f}", r["avg_ts"].get<double>(),
                            r["stddev_ts"].get<double>());
       }},
      {"VRAM", 9, [](const Json& r) { return format_size(Bytes(r["vram_peak_bytes"])); },
       on_device},
      {"of memory", 9,
       [](const Json& r) {
         return percent(on_device(r) ? r["share_of_vram_peak"] : r["share_of_ram_peak"]);
       }},
      {"hits", 7, [](const Json& r) { return percent(hits(r)); }},
      {"MB/token", 8, [](const Json& r) { return megabytes(r["read_bytes_per_token"]); }},
      {"link MB/t", 9, [](const Json& r) { return megabytes(r["link_bytes_per_token"]); },
       on_device},
      {"of link", 7, [](const Json& r) { return percent(r["share_of_link_peak"]); }, on_device},
      {"CPU MB/t", 8, [](const Json& r) { return megabytes(r["cpu_lane_bytes_per_token"]); },
       on_device},
      {"CPU busy", 8, [](const Json& r) { return percent(r["cpu_lane_share"]); }, on_device},
      {"launches", 8, [](const Json& r) { return or_dash(r["launches_per_token"], ""); },
       on_device},
      {"nodes", 6, [](const Json& r) { return or_dash(r["nodes_per_token"], ""); }, on_device},
      {"syncs", 5, [](const Json& r) { return or_dash(r["host_syncs_per_token"], ""); }, on_device},
      {"of a chunk", 10, [](const Json& r) { return or_dash(r["launches_per_chunk"], ""); },
       on_device},
      {"syncs", 5, [](const Json& r) { return or_dash(r["host_syncs_per_chunk"], ""); }, on_device},
      {"stalled", 7, [](const Json& r) { return percent(r["stall_share"]); }},
      {"disk bound", 10, [](const Json& r) { return or_dash(r["disk_bound_tok_s"], ""); }},
      {"of bound", 8, [](const Json& r) { return percent(r["of_bound"]); }},
      {"logits hash", 16, [](const Json& r) { return r["logits_hash"].get<std::string>(); }},
  };
}

namespace {

std::string cell(const BenchColumn& column, std::string_view text) {
  // fmt counts "±" as one column, as a terminal does.
  return column.width < 0 ? fmt::format(" {:<{}} |", text, -column.width)
                          : fmt::format(" {:>{}} |", text, column.width);
}

void print_markdown_row(std::FILE* out, const std::vector<BenchColumn>& columns, const Json& record,
                        bool first) {
  std::string titles = "|", rule = "|", values = "|";
  for (const BenchColumn& column : columns) {
    if (!column.worth_showing(record)) continue;
    titles += cell(column, column.title);
    std::string dashes(static_cast<std::size_t>(std::abs(column.width)), '-');
    if (column.width > 0) dashes.back() = ':';
    rule += cell(column, dashes);
    values += cell(column, column.text(record));
  }
  if (first) fmt::print(out, "{}\n{}\n", titles, rule);
  fmt::print(out, "{}\n", values);
}

std::string csv_value(const Json& value) {
  if (value.is_null()) return {};
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

void print_csv_row(std::FILE* out, const Json& record, bool first) {
  std::string titles, values;
  for (const auto& [name, value] : record.items()) {
    if (value.is_array()) continue;  // the samples
    titles += fmt::format("{}{}", titles.empty() ? "" : ",", name);
    values += fmt::format("{}{}", values.empty() ? "" : ",", csv_value(value));
  }
  if (first) fmt::print(out, "{}\n", titles);
  fmt::print(out, "{}\n", values);
}

// Names from a file need not be UTF-8; what is not becomes U+FFFD.
std::string dump(const Json& record, int indent) {
  return record.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

void BenchReport::add(const Json& record) {
  const bool first = rows_++ == 0;
  switch (format_) {
    case BenchFormat::kMarkdown:
      print_markdown_row(out_, columns_, record, first);
      break;
    case BenchFormat::kCsv:
      print_csv_row(out_, record, first);
      break;
    case BenchFormat::kJson:
      fmt::print(out_, "{}{}", first ? "[\n" : ",\n", dump(record, 2));
      break;
    case BenchFormat::kJsonLines:
      fmt::print(out_, "{}\n", dump(record, -1));
      break;
  }
  std::fflush(out_);
}

void BenchReport::finish() {
  if (format_ == BenchFormat::kJson) fmt::print(out_, "{}]\n", rows_ == 0 ? "[" : "\n");
}

}  // namespace hearth::tools
