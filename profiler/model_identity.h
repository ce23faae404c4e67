// Which model a profile, a trace or a plan belongs to, independent of the name of its file and of
// how it is split: fingerprints of its metadata, its tensors and some bytes of its experts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace hearth::profiler {

struct ModelIdentity {
  std::string architecture;
  std::string name;                     // may be empty
  std::string formats;                  // of the experts, by bytes: "Q4_K 83 %, Q6_K 17 %"
  std::uint32_t layers = 0;             // blocks, with experts or not
  std::uint32_t experts_per_layer = 0;  // the largest count of any layer
  std::uint32_t experts_used = 0;       // top-k
  // XXH3, 64 bits. Metadata: all keys but split.* and those that a quantisation changes. Tensors:
  // names and shapes, by name. Types: name and type, by name. Samples: bytes of the router and
  // of some experts of every layer; 0 where no weights were read.
  std::uint64_t metadata = 0;
  std::uint64_t tensors = 0;
  std::uint64_t types = 0;
  std::uint64_t samples = 0;

  bool operator==(const ModelIdentity&) const = default;
};

// What tells `found` (a file's) from `model` (the one to be run), the coarsest difference first, as
// the end of a sentence: "is for another quantisation: Q8_0 100 %, but the model has Q4_K 83 %,
// Q6_K 17 %". Empty if there is none. Samples count only where both have them.
std::optional<std::string> difference(const ModelIdentity& found, const ModelIdentity& model);

}  // namespace hearth::profiler
