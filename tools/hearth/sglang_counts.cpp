#include "tools/hearth/sglang_counts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace hearth::tools {
namespace {

using Json = nlohmann::json;
using profiler::CountTable;

[[noreturn]] void bad_form(const std::string& name, std::string_view what) {
  throw_error(
      ErrorCode::kBadFile,
      "{}: {}; expected {{\"logical_count\": [[[counts of experts] of layers] of samples]}}",
      printable(name), what);
}

// Adds [layers][experts] to `sum`, which it gives its shape when it is the first.
void add_sample(CountTable& sum, const Json& sample, const std::string& name) {
  if (!sample.is_array() || sample.empty()) bad_form(name, "a sample is not a list of layers");
  if (sum.empty()) sum.resize(sample.size());
  if (sum.size() != sample.size()) bad_form(name, "samples have different numbers of layers");
  for (std::size_t layer = 0; layer < sum.size(); ++layer) {
    const Json& row = sample[layer];
    if (!row.is_array() || row.empty()) bad_form(name, "a layer is not a list of counts");
    if (sum[layer].empty()) sum[layer].resize(row.size());
    if (sum[layer].size() != row.size())
      bad_form(name, "samples have different numbers of experts");
    for (std::size_t expert = 0; expert < row.size(); ++expert) {
      if (!row[expert].is_number_unsigned()) bad_form(name, "a count is not a whole number");
      const auto count = row[expert].get<std::uint64_t>();
      if (count > profiler::kMostTokens - std::min(sum[layer][expert], profiler::kMostTokens))
        bad_form(name, "a count is more than a profile can hold");
      sum[layer][expert] += count;
    }
  }
}

}  // namespace

std::string sglang_json(const profiler::ExpertProfile& profile) {
  std::string text = "{\"logical_count\": [[\n";
  const CountTable counts = counts_of(profile);
  for (std::size_t layer = 0; layer < counts.size(); ++layer)
    text += fmt::format("[{}]{}\n", fmt::join(counts[layer], ","),
                        layer + 1 < counts.size() ? "," : "");
  return text + "]]}\n";
}

profiler::ExpertProfile import_sglang_json(std::string_view text, const std::string& name,
                                           profiler::ExpertProfile shape,
                                           const std::string& workload) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("logical_count"))
    bad_form(name, "no JSON object with logical_count");
  const Json& counts = json["logical_count"];
  if (!counts.is_array() || counts.empty() || !counts[0].is_array() || counts[0].empty())
    bad_form(name, "logical_count is not a list of lists");
  CountTable sum;
  if (counts[0][0].is_array())
    for (const Json& sample : counts) add_sample(sum, sample, name);
  else
    add_sample(sum, counts, name);
  return import_counts(sum, name, std::move(shape), workload);
}

}  // namespace hearth::tools
