// The tokenizer of a synthetic model: copied from a model file, or made up.
#pragma once

#include <cstdint>
#include <string>

#include "io/gguf.h"

namespace hearth::tools {

// The keys tokenizer.* of a model file.
io::GgufMetadata vocabulary_of_file(const std::string& path);

// A byte-level BPE (the 256 bytes, merges of ever longer words of a to z, three control tokens)
// with exactly `size` tokens. Throws Error(kUsage) below 259.
io::GgufMetadata made_up_vocabulary(std::uint32_t size);

}  // namespace hearth::tools
