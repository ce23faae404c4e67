// A synthetic model: its metadata, and every tensor that the loader asks for with them, with its
// format and its statistics.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"
#include "io/gguf.h"
#include "tools/hearth/synth_formats.h"
#include "tools/hearth/synth_shape.h"

namespace hearth::tools {

enum class SynthContent {
  kNorm,     // near 1
  kRate,     // of a decay: near -1
  kWeights,  // of the given deviation
  kRouter,   // rows of the given deviation times a gain for each expert
};

struct SynthTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // the first varies fastest
  kernels::WeightFormat format;
  SynthContent content;
  double deviation;

  std::uint64_t values() const;
  Bytes row_bytes() const;  // of shape[0] values
  Bytes bytes() const;
};

struct SynthModel {
  io::GgufMetadata metadata;         // without the tokenizer
  std::vector<SynthTensor> tensors;  // in file order

  std::uint64_t parameters() const;
  Bytes bytes() const;  // of all tensors
};

// Throws Error(kUsage) for a shape that is impossible or whose rows are not whole blocks of their
// format.
SynthModel synth_model(const SynthShape& shape, const SynthFormats& formats);

// The model of `shape` with as many layers as fit into `size`, but no fewer than show its pattern,
// whatever those take.
SynthModel fit_layers(const SynthShape& shape, const SynthFormats& formats, Bytes size);

}  // namespace hearth::tools
