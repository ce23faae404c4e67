// Looks at everything a parsed file offers. What parsed must hold the promises of io/gguf.h, and
// each typed access must answer or throw hearth::Error.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "io/gguf.h"

namespace hearth::io {

template <typename Access>
void answer_or_error(Access access) {
  try {
    static_cast<void>(access());
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kBadFile);
  }
}

inline void walk_metadata(const GgufMetadata& metadata) {
  for (const GgufMetadata::Entry& entry : metadata.entries()) {
    CHECK(metadata.find(entry.key) == &entry.value);
    answer_or_error([&] { return metadata.unsigned_integer(entry.key); });
    answer_or_error([&] { return metadata.unsigned_integer(entry.key, 0); });
    answer_or_error([&] { return metadata.unsigned_integer(entry.key, 1000); });
    answer_or_error([&] { return metadata.real(entry.key); });
    answer_or_error([&] { return metadata.boolean(entry.key); });
    answer_or_error([&] { return metadata.string(entry.key); });
    answer_or_error([&] { return metadata.strings(entry.key); });
    answer_or_error([&] { return metadata.reals(entry.key); });
    answer_or_error([&] { return metadata.integers(entry.key); });
  }
}

inline void walk_tensors(const GgufFile& file) {
  std::vector<const GgufTensor*> sized;
  for (const GgufTensor& tensor : file.tensors()) {
    CHECK(file.find(tensor.name) == &tensor);
    CHECK_GT(tensor.elements(), 0u);
    CHECK_LT(tensor.offset, file.file_bytes().count);
    if (!tensor.size) continue;
    CHECK_GT(tensor.size->count, 0u);
    CHECK_LE(tensor.size->count, file.file_bytes().count - tensor.offset);
    sized.push_back(&tensor);
  }
  std::sort(sized.begin(), sized.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < sized.size(); ++i)
    CHECK_LE(sized[i - 1]->offset + sized[i - 1]->size->count, sized[i]->offset);
}

inline void walk(const GgufFile& file) {
  walk_metadata(file.metadata());
  walk_tensors(file);
}

}  // namespace hearth::io
