// Where a model that is being built finds its tensors, if not in its file: a source that makes each
// tensor in the shape that is asked for tells what a model of some metadata consists of.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "io/gguf.h"

namespace hearth::runtime {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // Of a tensor that not every model of an architecture has.
  virtual bool has(const std::string& name) = 0;
  // A tensor that the model needs; the first size of `shape` varies fastest, and an empty one says
  // that the tensor decides. Null: there is none. What is found must stay where it is.
  virtual const io::GgufTensor* find(const std::string& name,
                                     std::span<const std::uint64_t> shape) = 0;
};

}  // namespace hearth::runtime
