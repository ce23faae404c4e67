#include "tools/hearth/bench_points.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "tools/hearth/flag_value.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

// Keeps sums of three numbers far from wrapping.
constexpr std::uint64_t kMostTokens = 1u << 28;

std::vector<std::uint32_t> parse_numbers(std::string_view text) {
  std::vector<std::uint32_t> numbers;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    numbers.push_back(
        static_cast<std::uint32_t>(parse_unsigned(text.substr(begin, end - begin), kMostTokens)));
    begin = end + 1;
  }
  return numbers;
}

}  // namespace

std::vector<std::uint32_t> parse_counts(std::string_view flag, std::string_view text) {
  return parse_for(fmt::format("{} {}", flag, printable(text)),
                   [&] { return parse_numbers(text); });
}

namespace {

BenchPoint parse_pair(std::string_view text) {
  const std::vector<std::uint32_t> numbers = parse_counts("-pg", text);
  if (numbers.size() != 2)
    throw_error(ErrorCode::kUsage, "-pg takes two numbers, prompt and generation (512,128), not {}",
                printable(text));
  return {.prompt = numbers[0], .generate = numbers[1]};
}

}  // namespace

std::string BenchPoint::name() const {
  std::string text;
  if (prompt > 0) text += fmt::format("pp{}", prompt);
  if (generate > 0) text += fmt::format("{}tg{}", text.empty() ? "" : "+", generate);
  if (depth > 0) text += fmt::format(" @ d{}", depth);
  return text;
}

std::vector<BenchPoint> bench_points(const BenchLists& lists) {
  std::vector<BenchPoint> at_depth_0;
  for (const std::uint32_t prompt : parse_counts("--n-prompt", lists.prompts))
    at_depth_0.push_back({.prompt = prompt});
  for (const std::uint32_t generate : parse_counts("--n-gen", lists.generations))
    at_depth_0.push_back({.generate = generate});
  for (const std::string& pair : lists.pairs) at_depth_0.push_back(parse_pair(pair));

  std::vector<BenchPoint> points;
  for (const std::uint32_t depth : parse_counts("--n-depth", lists.depths)) {
    for (BenchPoint point : at_depth_0) {
      point.depth = depth;
      if (point.tokens() > 0) points.push_back(point);
    }
  }
  if (points.empty())
    throw_error(ErrorCode::kUsage, "nothing to measure; give --n-prompt, --n-gen or -pg above 0");
  return points;
}

std::uint32_t longest(std::span<const BenchPoint> points) {
  std::uint32_t positions = 0;
  for (const BenchPoint& point : points) positions = std::max(positions, point.positions());
  return positions;
}

}  // namespace hearth::tools
