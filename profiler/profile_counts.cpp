#include "profiler/profile_counts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

#include "base/error.h"

namespace hearth::profiler {
namespace {

constexpr std::string_view kColumns = "layer,expert,count";

// The lines of a text, numbered from 1, without what ends them.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  bool next() {
    if (rest_.empty()) return false;
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    line_ = rest_.substr(0, end);
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    ++number_;
    return true;
  }
  std::string_view line() const { return line_; }
  std::size_t number() const { return number_; }

 private:
  std::string_view rest_, line_;
  std::size_t number_ = 0;
};

// Takes a number off the front, and what parts it from the next one: a comma, blanks, or both.
// Empty for anything else.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  const std::size_t blanks = std::min(text.find_first_not_of(" \t"), text.size());
  const bool comma = blanks < text.size() && text[blanks] == ',';
  if (blanks == 0 && !comma && !text.empty()) return std::nullopt;
  text.remove_prefix(blanks + (comma ? 1 : 0));
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  if (comma && text.empty()) return std::nullopt;
  return value;
}

// All numbers of a line; empty if there is anything else in it.
std::vector<std::uint64_t> numbers_of(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  std::vector<std::uint64_t> numbers;
  while (!line.empty()) {
    const std::optional<std::uint64_t> number = take_number(line);
    if (!number) return {};
    numbers.push_back(*number);
  }
  return numbers;
}

void set_counts(LayerProfile& layer, const std::vector<std::uint64_t>& row,
                const std::string& name) {
  if (row.size() < layer.experts.size())
    throw_error(ErrorCode::kBadInput,
                "{}: layer {} has counts of {} experts, but {} in the model; take a file of this "
                "model",
                printable(name), layer.layer, row.size(), layer.experts.size());
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] == 0) continue;
    if (i >= layer.experts.size())
      throw_error(ErrorCode::kBadInput,
                  "{}: layer {} has a count of expert {}, but {} experts in the model; take a file "
                  "of this model",
                  printable(name), layer.layer, i, layer.experts.size());
    if (row[i] > kMostTokens)
      throw_error(ErrorCode::kBadInput,
                  "{}: layer {}, expert {}: a count of {} is more than the {} a profile can hold",
                  printable(name), layer.layer, i, row[i], kMostTokens);
    layer.experts[i].count = row[i];
    layer.experts[i].recent = static_cast<double>(row[i]);
  }
}

// Each token chooses `top_k` different experts.
std::uint64_t fewest_tokens(const LayerProfile& layer, std::uint32_t top_k) {
  std::uint64_t most = 0;
  for (const ExpertHistory& expert : layer.experts) most = std::max(most, expert.count);
  return std::max(most, (layer.uses() + top_k - 1) / std::max(top_k, 1u));
}

void set_workload(ExpertProfile& profile, const std::string& name, const std::string& workload) {
  std::uint64_t tokens = 0;
  for (const LayerProfile& layer : profile.layers)
    tokens = std::max(tokens, fewest_tokens(layer, profile.model.experts_used));
  if (tokens == 0)
    throw_error(ErrorCode::kBadInput, "{}: all counts are zero; take a file with counts",
                printable(name));
  if (tokens > kMostTokens)
    throw_error(ErrorCode::kBadInput, "{}: the counts of {} tokens are more than a profile holds",
                printable(name), tokens);
  profile.workloads = {{workload, tokens, 0}};
}

}  // namespace

CountTable counts_of(const ExpertProfile& profile) {
  CountTable counts(profile.model.layers,
                    std::vector<std::uint64_t>(profile.model.experts_per_layer));
  for (const LayerProfile& layer : profile.layers)
    for (std::size_t i = 0; i < layer.experts.size(); ++i)
      counts[layer.layer][i] = layer.experts[i].count;
  return counts;
}

std::string counts_csv(const ExpertProfile& profile) {
  std::string text = fmt::format("{}\n", kColumns);
  for (const LayerProfile& layer : profile.layers)
    for (std::size_t i = 0; i < layer.experts.size(); ++i)
      fmt::format_to(std::back_inserter(text), "{},{},{}\n", layer.layer, i,
                     layer.experts[i].count);
  return text;
}

std::string spark_csv(const ExpertProfile& profile) {
  std::string text = fmt::format(
      "# hotness table: n_layer={} n_expert={} n_expert_used={}\n"
      "# format: one row per layer, columns are expert activation counts (expert 0..N-1)\n",
      profile.model.layers, profile.model.experts_per_layer, profile.model.experts_used);
  for (const std::vector<std::uint64_t>& row : counts_of(profile))
    fmt::format_to(std::back_inserter(text), "{}\n", fmt::join(row, ","));
  return text;
}

ExpertProfile import_counts_csv(std::string_view text, const std::string& name, ExpertProfile shape,
                                const std::string& workload) {
  Lines lines(text);
  if (!lines.next() || lines.line() != kColumns)
    throw_error(ErrorCode::kBadFile, "{}: the first line must be \"{}\"; export a profile as csv",
                printable(name), kColumns);
  CountTable counts = counts_of(shape);
  std::vector<std::vector<bool>> seen(counts.size(),
                                      std::vector<bool>(shape.model.experts_per_layer));
  while (lines.next()) {
    const std::vector<std::uint64_t> row = numbers_of(lines.line());
    if (row.size() != 3)
      throw_error(ErrorCode::kBadFile, "{}: line {}: must be three numbers, {}", printable(name),
                  lines.number(), kColumns);
    if (row[0] >= counts.size() || row[1] >= shape.model.experts_per_layer)
      throw_error(ErrorCode::kBadInput,
                  "{}: line {}: there is no expert {} of layer {} in the model; take a file of "
                  "this model",
                  printable(name), lines.number(), row[1], row[0]);
    if (seen[row[0]][row[1]])
      throw_error(ErrorCode::kBadFile, "{}: line {}: counts expert {} of layer {} again",
                  printable(name), lines.number(), row[1], row[0]);
    seen[row[0]][row[1]] = true;
    counts[row[0]][row[1]] = row[2];
  }
  return import_counts(counts, name, std::move(shape), workload);
}

ExpertProfile import_spark_csv(std::string_view text, const std::string& name, ExpertProfile shape,
                               const std::string& workload) {
  CountTable counts;
  Lines lines(text);
  while (lines.next()) {
    if (lines.line().empty() || lines.line().starts_with('#')) continue;
    counts.push_back(numbers_of(lines.line()));
    if (counts.back().empty())
      throw_error(ErrorCode::kBadFile, "{}: line {}: must be the counts of a layer, with commas",
                  printable(name), lines.number());
  }
  return import_counts(counts, name, std::move(shape), workload);
}

ExpertProfile import_counts(const CountTable& counts, const std::string& name, ExpertProfile shape,
                            const std::string& workload) {
  const bool every_block = counts.size() == shape.model.layers;
  if (!every_block && counts.size() != shape.layers.size())
    throw_error(ErrorCode::kBadInput,
                "{}: has counts of {} layers, but the model has {}, {} of them with experts; take "
                "a file of this model",
                printable(name), counts.size(), shape.model.layers, shape.layers.size());
  for (std::size_t row = 0; row < counts.size(); ++row) {
    const bool counted =
        std::any_of(counts[row].begin(), counts[row].end(), [](auto count) { return count != 0; });
    if (every_block && counted && shape.layer(static_cast<LayerIndex>(row)) == nullptr)
      throw_error(ErrorCode::kBadInput,
                  "{}: has counts of layer {}, which has no experts in the model; take a file of "
                  "this model",
                  printable(name), row);
  }
  for (std::size_t nth = 0; nth < shape.layers.size(); ++nth)
    set_counts(shape.layers[nth], counts[every_block ? shape.layers[nth].layer : nth], name);
  set_workload(shape, name, workload);
  return shape;
}

}  // namespace hearth::profiler
