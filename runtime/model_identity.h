// The identity of a model file: the same for a renamed, copied or split one, another for another
// quantisation, version or training.
#pragma once

#include <cstdint>
#include <vector>

#include "io/gguf.h"
#include "profiler/model_identity.h"

namespace hearth::runtime {

// From the header alone; samples is 0. Throws Error(kBadFile).
profiler::ModelIdentity identity_of_header(const io::GgufFile& file);

// With samples of the weights, where the file has them: one read for each router and each tensor of
// experts, at most a few hundred KB of a model of a hundred layers. Throws Error(kIo), too.
profiler::ModelIdentity identity_of(const io::GgufFile& file);

// Where a sample of the weights is taken. The place within the tensor follows from its name and
// size, not from where it lies in the file.
inline constexpr std::uint64_t kSampleBytes = 1024;
struct WeightSample {
  const io::GgufTensor* tensor = nullptr;
  std::uint64_t offset = 0;  // within the tensor
  std::uint64_t bytes = 0;   // kSampleBytes, or all of a smaller tensor
};
std::vector<WeightSample> weight_samples(const io::GgufFile& file);  // by name of the tensor

}  // namespace hearth::runtime
