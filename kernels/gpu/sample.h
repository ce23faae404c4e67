// From logits to the candidates of the next token on a device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kMostCandidates = 64;

struct Candidate {
  float logit = 0;
  TokenId id = -1;
};

// The largest logits of each row in descending order, the smaller id among equals: what
// runtime/sampler calls better. One candidate is the argmax. Where a row has fewer logits than
// candidates are asked for, the rest have id -1.
//
// Before, every logit becomes cap × tanh(logit / cap) (CpuKernels::softcap) if there is a cap, in
// place. If any logit of a row is infinite or NaN, the first candidate of that row is NaN, and so
// nothing else of it counts.
struct SampleTask {
  std::uint32_t rows = 0;
  std::uint32_t vocabulary = 0;
  float* logits = nullptr;  // [rows][stride]; read only without a cap
  std::uint64_t stride = 0;
  float softcap = 0;             // 0: none
  std::uint32_t count = 1;       // candidates of a row, 1 to kMostCandidates
  Candidate* chosen = nullptr;   // [rows][count]
  Candidate* scratch = nullptr;  // sample_scratch(rows, vocabulary, count)
};

// Logits that a block of threads takes its candidates from.
inline constexpr std::uint32_t kSampleSpan = 4096;

// Candidates of all spans, and those of all spans of these.
constexpr std::size_t sample_scratch(std::uint32_t rows, std::uint32_t vocabulary,
                                     std::uint32_t count) {
  std::size_t all = 0;
  std::size_t left = vocabulary;
  while (left > kSampleSpan) {
    left = (left + kSampleSpan - 1) / kSampleSpan * count;
    all += left;
  }
  return all * rows;
}

}  // namespace hearth::kernels
