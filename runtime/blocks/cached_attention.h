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

#include "runtime/step.h"

namespace hearth::runtime {

struct AttentionShape {
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t key_dim = 0;
  std::uint32_t value_dim = 0;
  bool values_in_keys = false;  // values are the first value_dim channels of the keys
};

// Queries of all rows, rotated as the keys are: row r, head h at values[r × stride + h × key_dim].
struct RowQueries {
  const float* values = nullptr;
  std::size_t stride = 0;
};

// Where results go: row r, head h to values[r × stride + h × head_stride]. That may be where the
// queries of the same row and head are.
struct RowResults {
  float* values = nullptr;
  std::size_t stride = 0;
  std::size_t head_stride = 0;
};

// Attention of the step's rows, whose keys and values are stored and encoded as far as they are
// due, rotated back.
void attend(const Step& step, LayerIndex layer, const AttentionShape& shape,
            const RowQueries& queries, const RowResults& results);
// The same into step.scratch.attended, [rows][heads × value_dim].
void attend(const Step& step, LayerIndex layer, const AttentionShape& shape,
            const RowQueries& queries);

}  // namespace hearth::runtime
