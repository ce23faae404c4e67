// The results of `hearth bench` as a table for people or records for programs.
//
// Records carry the names of llama-bench where a figure means the same, and more of their own:
// bytes and rates as plain numbers, null (in CSV: nothing) where something was not measured.
#pragma once

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine.h"
#include "runtime/link_peaks.h"
#include "tools/hearth/bench_measure.h"

namespace hearth::tools {

// What all tests of one run have in common.
struct BenchSetup {
  const runtime::Engine& engine;
  std::string model_path;
  std::string model_type;  // "qwen3moe 47.5 M Q4_K"
  std::uint64_t parameters = 0;
  BenchSettings settings;
  std::string token_source;  // "corpus" or "random"
  std::string routing;       // "router", or "forced (trace NAME, recorded)"
  runtime::LinkPeaks peaks;
  std::optional<Bytes> vram_budget;
  std::optional<profiler::GpuMachine> gpu;  // the device, as hearth doctor measured it
  std::optional<double> in_memory_tok_s;    // measured by the caller with all experts in memory
};

nlohmann::ordered_json bench_record(const BenchSetup& setup, const BenchResult& result);

// Mean and standard deviation of samples; 0 for a single one.
struct Spread {
  double mean = 0;
  double deviation = 0;
};
Spread spread(const std::vector<double>& samples);

std::string cpu_name();

// Of the table for people.
struct BenchColumn {
  std::string title;
  int width;  // negative: left-aligned
  std::function<std::string(const nlohmann::ordered_json& record)> text;
  std::function<bool(const nlohmann::ordered_json& record)> worth_showing =
      [](const nlohmann::ordered_json&) { return true; };
};
std::vector<BenchColumn> bench_columns();  // of records of bench_record()

enum class BenchFormat { kMarkdown, kCsv, kJson, kJsonLines };
std::optional<BenchFormat> parse_bench_format(std::string_view name);  // md, csv, json, jsonl

// Writes results as they come.
class BenchReport {
 public:
  BenchReport(std::FILE* out, BenchFormat format, std::vector<BenchColumn> columns)
      : out_(out), format_(format), columns_(std::move(columns)) {}

  void add(const nlohmann::ordered_json& record);
  void finish();

 private:
  std::FILE* out_;
  BenchFormat format_;
  std::vector<BenchColumn> columns_;
  std::size_t rows_ = 0;
};

}  // namespace hearth::tools
