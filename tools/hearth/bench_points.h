// What `hearth bench` measures: llama-bench's tests, in its notation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::tools {

// A prompt of `prompt` tokens, then `generate` single tokens, after `depth` tokens that are not
// timed.
struct BenchPoint {
  std::uint32_t prompt = 0;
  std::uint32_t generate = 0;
  std::uint32_t depth = 0;

  std::uint32_t tokens() const { return prompt + generate; }  // that are timed
  std::uint32_t positions() const { return depth + tokens(); }
  std::string name() const;  // "pp512", "tg128 @ d4096", "pp512+tg128"
};

struct BenchLists {
  std::string prompts = "512";  // each a list, "512,1024"; 0 stands for no such test
  std::string generations = "128";
  std::string depths = "0";
  std::vector<std::string> pairs;  // "512,128"
};

// "0,4096", the value of `flag`: throws Error(kUsage) for what is no list of numbers.
std::vector<std::uint32_t> parse_counts(std::string_view flag, std::string_view list);

// Throws Error(kUsage) for what is no list of numbers, and when nothing is left to measure.
std::vector<BenchPoint> bench_points(const BenchLists& lists);

std::uint32_t longest(std::span<const BenchPoint> points);  // in positions

}  // namespace hearth::tools
