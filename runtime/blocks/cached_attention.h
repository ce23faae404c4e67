// Attention of the rows of a step over the cache of one layer (kernels/attention.h), cut into
// tasks.
//
// A task has the queries of some rows that share a KV head, at most kMaxAttentionQueries of them,
// so that a tile of the cache is read once for all of them. Two ways to compute give the same bits,
// since chunks are merged in order in both:
//   - with enough tasks for all workers, each walks its chunks with what it has so far;
//   - with few rows each chunk is a task of its own, what it leaves lies in scratch, and then the
//     chunks of each query are merged. So one token of a long context keeps all workers busy.
#pragma once

#include <algorithm>
#include <cmath>

#include "runtime/step.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

// Which positions a row attends to besides its own: all before it, the last few, or those of its
// own chunk of the context.
struct AttentionWindow {
  std::uint32_t positions = 0;  // 0: all
  bool chunked = false;

  std::uint32_t first(std::uint32_t position) const {
    if (positions == 0) return 0;
    return chunked ? position / positions * positions
                   : std::max(position + 1, positions) - positions;
  }
};

struct AttentionShape {
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t key_dim = 0;
  std::uint32_t value_dim = 0;
  float scale = 0;  // of the scores; 0: 1 / sqrt(key_dim)
  AttentionWindow window = {};
  WeightVector sinks = {};  // [heads]: logits that take weight from all values; optional

  float score_scale() const {
    return scale > 0 ? scale : 1.0f / std::sqrt(static_cast<float>(key_dim));
  }
};

// Queries of all rows, rotated as the keys are: row r, head h at values[r × stride + h × key_dim].
struct RowQueries {
  const float* values = nullptr;
  std::size_t stride = 0;
};

// step.scratch.attended = attention of the step's rows over the cache of `layer`, whose keys and
// values are stored and encoded as far as they are due; [rows][heads × value_dim], rotated back.
void attend(const Step& step, LayerIndex layer, const AttentionShape& shape,
            const RowQueries& queries);

}  // namespace hearth::runtime
