// A model with latent attention whose cached rows are whole blocks.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <vector>

#include "tests/runtime/support/model_copy.h"

namespace hearth::testing {

// The heads of the golden model are 32 plain channels and 16 rotated ones, beside a latent of 32.
// Here they are 16 and 32, so that blocks of 32 can hold what is cached.
inline void write_latent_model(const std::string& path) {
  ModelCopy model(HEARTH_SOURCE_DIR "/tests/golden/deepseek2-v3-f16.gguf");
  model.set("deepseek2.rope.dimension_count", std::uint64_t{32});
  model.set("deepseek2.attention.key_length", std::uint64_t{64});
  for (int layer = 0; layer < 3; ++layer) {
    TensorCopy& cached = model.tensor(fmt::format("blk.{}.attn_kv_a_mqa.weight", layer));
    const std::vector<std::byte> rows(
        cached.data.begin(),
        cached.data.begin() + static_cast<std::ptrdiff_t>(cached.data.size() / 3));
    cached.data.insert(cached.data.end(), rows.begin(), rows.end());
    cached.shape[1] = 64;
    TensorCopy& key = model.tensor(fmt::format("blk.{}.attn_k_b.weight", layer));
    key.data.resize(key.data.size() / 2);
    key.shape[0] = 16;
  }
  model.write(path);
}

}  // namespace hearth::testing
