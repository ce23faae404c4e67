// Parses one GGUF file: everything in front of the tensor data.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"
#include "io/byte_source.h"
#include "io/gguf.h"

namespace hearth::io {

struct GgufPart {
  std::uint32_t version = 0;
  Bytes file_bytes;  // up to the end of the last tensor, if that is missing
  bool has_data = true;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // `file` is left 0
};

// Throws Error(kBadFile / kUnsupported / kIo). Reads no tensor data. Checks everything that can be
// seen in one file except that tensor names are unique, which is a property of the whole set.
GgufPart parse_gguf_part(const ByteSource& source, BlockShapeOf block_shape_of,
                         GgufFile::Data data);

}  // namespace hearth::io
